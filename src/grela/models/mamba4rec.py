"""Mamba4Rec (Liu et al., 2024, arXiv 2403.03900): Mamba blocks, each followed by a feed-forward network.

    X = LayerNorm(Dropout(Embedding[item]))
    X = LayerNorm(Dropout(Mamba(X)))              the only layer, or LayerNorm(X + Dropout(Mamba(X))) of several
    X = LayerNorm(X + FeedForward(X));   score = X_t . Embedding[i]

As in the authors' code, which draws the map to step sizes anew with all others, steps begin near softplus(0) = .69.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from grela.models.sequential import Padded, SequentialModel
from grela.nn.feed_forward import FeedForward
from grela.nn.init import initialise
from grela.nn.mamba import Mamba
from grela.ops.dropout import dropout
from grela.ops.selective_scan import Scan, scan_for

# S histories, T time, D width


@dataclass(frozen=True, kw_only=True)
class Mamba4RecConfig:
    """The authors' for ML-1M (config.yaml of their code): one layer, width 64, dropout .2, the last 200 events."""

    width: int = 64
    layers: int = 1
    state: int = 32
    taps: int = 4
    expand: int = 2
    dropout: float = 0.2


class Mamba4Rec(SequentialModel):
    """The model; reads histories of any length.

    `scan` computes the selective scans; it is chosen for the device that the model is made on or moved to.
    """

    scan: Scan

    def __init__(self, num_items: int, config: Mamba4RecConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.norm = nn.LayerNorm(config.width, eps=1e-12)
            self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.to_empty(device=rng.device)
        initialise(self, rng)

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The normalised hidden states [S, T, D] of every event."""
        x: Tensor = self.norm(dropout(self.embedding(histories.items), self.config.dropout, rng))
        for layer in self.layers:
            x = layer(x, self.scan, rng)
        return x

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """What every move to another device goes through."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scan = scan_for(self.embedding.weight.device)
        return self


class _Layer(nn.Module):
    def __init__(self, config: Mamba4RecConfig) -> None:
        super().__init__()
        self.rate, self.residual = config.dropout, config.layers > 1
        self.mamba = Mamba(config.width, state=config.state, taps=config.taps, expand=config.expand)
        self.mamba_norm = nn.LayerNorm(config.width, eps=1e-12)
        self.feed_forward = FeedForward(config.width, dropout=config.dropout)
        self.feed_norm = nn.LayerNorm(config.width, eps=1e-12)

    def forward(self, x: Tensor, scan: Scan, rng: torch.Generator | None) -> Tensor:
        mixed = dropout(self.mamba(x, scan), self.rate, rng)
        x = self.mamba_norm(x + mixed if self.residual else mixed)
        fed: Tensor = self.feed_norm(x + self.feed_forward(x, rng))
        return fed
