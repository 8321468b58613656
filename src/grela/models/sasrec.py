"""SASRec (Kang and McAuley, ICDM 2018, arXiv 1808.09781): causal softmax attention with learned positions.

    E_t = Dropout(sqrt(D) Embedding[item_t] + Position[t])
    Q   = LayerNorm(X);   X = Q + Dropout(Attention(Q, X, X))      as the authors' code has it: keys are not normalised,
    X   = LayerNorm(X);   X = X + FeedForward(X)                   and the residual is
    score = LayerNorm(X_t) . Embedding[i]

Positions count from a window's first event, so that histories need no padding on the left; the paper counts them back
from the last. Attention ends with a projection of all heads, as is usual; the authors' code has none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from grela.models.sequential import Padded, SequentialModel
from grela.nn.init import initialise
from grela.nn.softmax_attention import SoftmaxAttention
from grela.ops.dropout import dropout

# S histories, T time, D width


@dataclass(frozen=True, kw_only=True)
class SASRecConfig:
    """The paper's for ML-1M (section IV-D): two blocks of width 50, dropout .2, the last 200 events."""

    width: int = 50
    heads: int = 1
    layers: int = 2
    dropout: float = 0.2
    positions: int = 200


class SASRec(SequentialModel):
    """The model; reads at most `positions` events."""

    def __init__(self, num_items: int, config: SASRecConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.positions = nn.Embedding(config.positions, config.width)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.width, eps=1e-8)
        self.to_empty(device=rng.device)
        initialise(self, rng)

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The normalised hidden states [S, T, D] of every event."""
        items, rate = histories.items, self.config.dropout
        place = torch.arange(items.shape[1], device=items.device)
        x = dropout(self.embedding(items) * self.config.width**0.5 + self.positions(place), rate, rng)
        for block in self.blocks:
            x = block(x, histories.present, rng)
        normalised: Tensor = self.norm(x)
        return normalised


class _Block(nn.Module):
    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        D, self.rate = config.width, config.dropout
        self.attention_norm = nn.LayerNorm(D, eps=1e-8)
        self.attention = SoftmaxAttention(D, heads=config.heads, dropout=config.dropout, causal=True)
        self.feed_norm = nn.LayerNorm(D, eps=1e-8)
        self.up, self.down = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Tensor, present: Tensor, rng: torch.Generator | None) -> Tensor:
        queries = self.attention_norm(x)
        x = self.feed_norm(queries + dropout(self.attention(queries, x, present, rng), self.rate, rng))
        inside = dropout(relu(self.up(x)), self.rate, rng)
        fed: Tensor = x + dropout(self.down(inside), self.rate, rng)
        return fed
