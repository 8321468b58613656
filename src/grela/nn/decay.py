"""A learned decay of linear attention's state: each pair of key channels forgets at a rate of its own.

    S_t = diag(a) S_{t-1} + k~_t v_t^T,  z_t = diag(a) z_{t-1} + k_t,   a = exp(-exp(-p)),  p = log of the time constant

As in RetNet (arXiv 2307.08621), whose rates are fixed and one a head. Both channels of a pair decay alike, so that
turning them still depends on the distance of two events alone.
"""

import math

import torch
from torch import Tensor, nn

# H heads, C pairs of a head's channels, K = 2 C

SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE = 8.0, 1024.0


class Decay(nn.Module):
    """The logarithms of the time constants, in events, [H, C]."""

    def __init__(self, heads: int, pairs: int) -> None:
        super().__init__()
        self.log_time = nn.Parameter(torch.empty(heads, pairs))

    def start(self) -> None:
        """Half-lives from 8 to 1024 events in each head, evenly spaced in their logarithm; 91 where there is one."""
        pairs = self.log_time.shape[1]
        short, long = (math.log(x / math.log(2)) for x in (SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE))
        spread = torch.linspace(short, long, pairs) if pairs > 1 else torch.tensor([(short + long) / 2])
        with torch.no_grad():
            self.log_time.copy_(spread)

    def forward(self) -> Tensor:
        """log a, [H, K], between -1 and 0: a chunk of positions stays within a float32's exponent."""
        return -(-self.log_time.clamp(min=0)).exp().repeat_interleave(2, 1)
