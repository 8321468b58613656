"""LRURec (Yue et al., WSDM 2024, arXiv 2310.02367): linear recurrent units, with feed-forward networks between.

    X = LayerNorm(Dropout(Embedding[item]))
    X = LayerNorm(X + Dropout(LinearRecurrentUnit(X)))
    X = LayerNorm(X + FeedForward(X));   score = X_t . Embedding[i]

The authors' code adds a learnt bias of each item to its score; here a score is the product alone, as every rival's is.
It draws weights and biases from a normal distribution cut at two standard deviations; here weights are not cut, and
biases begin at 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grela.models.sequential import Padded, SequentialModel
from grela.nn.feed_forward import FeedForward
from grela.nn.init import initialise
from grela.nn.linear_recurrent_unit import LinearRecurrentUnit
from grela.ops.dropout import dropout

# S histories, T time, D width


@dataclass(frozen=True, kw_only=True)
class LRURecConfig:
    """The authors' for ML-1M (config.py of their code): two blocks of width 64, dropout .2, the last 200 events."""

    width: int = 64
    layers: int = 2
    dropout: float = 0.2


class LRURec(SequentialModel):
    """The model; reads histories of any length."""

    def __init__(self, num_items: int, config: LRURecConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.norm = nn.LayerNorm(config.width)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.to_empty(device=rng.device)
        initialise(self, rng)

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The normalised hidden states [S, T, D] of every event."""
        x: Tensor = self.norm(dropout(self.embedding(histories.items), self.config.dropout, rng))
        for block in self.blocks:
            x = block(x, rng)
        return x


class _Block(nn.Module):
    def __init__(self, config: LRURecConfig) -> None:
        super().__init__()
        self.rate = config.dropout
        self.recurrent = LinearRecurrentUnit(config.width)
        self.recurrent_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, dropout=config.dropout)
        self.feed_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        x = self.recurrent_norm(x + dropout(self.recurrent(x), self.rate, rng))
        fed: Tensor = self.feed_norm(x + self.feed_forward(x, rng))
        return fed
