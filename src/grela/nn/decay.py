"""A learned decay of linear attention's state, as RetNet's (arXiv 2307.08621) and gated forms after it have.

    a = exp(-exp(-p))    p = log of the time constant in events

Times start spread over heads, or over the pairs of channels within each head: both channels of a pair decay alike, so
that turning them still depends on the distance of two events alone.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

# H heads, C rates of a head

DecayKind = Literal["none", "head", "channel"]
SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE = 8.0, 1024.0


class Decay(nn.Module):
    """The logarithm of the decay a position: one a head, or one a pair of a head's channels."""

    def __init__(self, heads: int, rates: int) -> None:
        super().__init__()
        self.log_time = nn.Parameter(torch.empty(heads, rates))

    def start(self) -> None:
        """Half-lives from 8 to 1024 events, evenly spaced in their logarithm; 91 where there is one."""
        heads, rates = self.log_time.shape
        short, long = (math.log(x / math.log(2)) for x in (SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE))
        count = heads if rates == 1 else rates
        spread = torch.linspace(short, long, count) if count > 1 else torch.tensor([(short + long) / 2])
        with torch.no_grad():
            self.log_time.copy_(spread.unsqueeze(1) if rates == 1 else spread)

    def forward(self) -> Tensor:
        """[H, C], between -1 and 0: a chunk of positions stays within a float32's exponent."""
        return -(-self.log_time.clamp(min=0)).exp()
