"""The position-wise feed-forward network: Linear D -> 4D, GELU (exact), Dropout, Linear 4D -> D, Dropout."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from grela.ops.dropout import dropout


class FeedForward(nn.Module):
    """Two linear layers with GELU between; the same at every position."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.rate = dropout
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """x [..., D] gives [..., D]; nothing is dropped without a generator."""
        hidden = dropout(gelu(self.up(x)), self.rate, rng)
        return dropout(self.down(hidden), self.rate, rng)
