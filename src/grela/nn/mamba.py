"""The Mamba block (Gu and Dao, arXiv 2312.00752, section 3.4 and figure 3).

    u, z     = x W_in                              twice the width each
    u        = SiLU(causal depthwise convolution of u)
    r, B, C  = u W_select;   dt = softplus(r W_dt + b_dt)
    y        = (selective scan of u by dt, A, B, C + D u) * SiLU(z)
    out      = y W_out

Only the convolution and dt have biases. The block begins as the authors' code does: A = -(1 .. N), D = 1, dt from .001
to .1, evenly spread in its logarithm.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu, softplus

from grela.ops.selective_scan import Scan
from grela.ops.short_conv import short_conv

# S histories, T time, D width, E channels, N places of a channel's state, R rank of dt

SHORTEST_DT, LONGEST_DT = 1e-3, 0.1


class Mamba(nn.Module):
    """x [S, T, D] gives [S, T, D], causal; `scan` is what computes the selective scan."""

    def __init__(self, width: int, *, state: int, taps: int, expand: int) -> None:
        super().__init__()
        channels, self.rank = expand * width, math.ceil(width / 16)
        self.into = nn.Linear(width, 2 * channels, bias=False)
        self.conv = nn.Conv1d(channels, channels, taps, groups=channels)
        self.select = nn.Linear(channels, self.rank + 2 * state, bias=False)
        self.dt = _StepSize(self.rank, channels)
        self.log_A = nn.Parameter(torch.empty(channels, state))
        self.skip = nn.Parameter(torch.empty(channels))
        self.out = nn.Linear(channels, width, bias=False)

    def start_from(self, rng: torch.Generator) -> None:
        """-A = 1 .. N in each channel, D = 1; nothing is drawn."""
        with torch.no_grad():
            self.log_A.copy_(torch.arange(1, self.log_A.shape[1] + 1).log())
            self.skip.fill_(1)

    def forward(self, x: Tensor, scan: Scan) -> Tensor:
        """Nothing is remembered from another call."""
        u, gate = self.into(x).chunk(2, -1)
        # The scan's sums, like those around it, stay in float32 whatever the projections ran in.
        u = silu(self._convolved(u.to(self.log_A.dtype)))
        selected = self.select(u).to(u.dtype)
        rank, B, C = selected.split((self.rank, *2 * (self.log_A.shape[1],)), -1)
        dt = self.dt(rank)
        with torch.autocast(x.device.type, enabled=False):
            y = scan(u, dt, -self.log_A.exp(), B, C) + self.skip * u
        out: Tensor = self.out(y * silu(gate))
        return out

    def _convolved(self, u: Tensor) -> Tensor:
        assert self.conv.bias is not None
        one_history = torch.zeros(u.shape[:2], dtype=torch.int64, device=u.device)
        nothing = u.new_zeros(u.shape[0], self.conv.kernel_size[0] - 1, u.shape[2])
        y, _ = short_conv(u, self.conv.weight.squeeze(1), self.conv.bias, one_history, nothing)
        return y


class _StepSize(nn.Module):
    """dt, [..., E] and positive, from [..., R]."""

    def __init__(self, rank: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, rank))
        self.bias = nn.Parameter(torch.empty(channels))

    def start_from(self, rng: torch.Generator) -> None:
        bound = self.weight.shape[1] ** -0.5
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=rng)
            log_dt = torch.empty_like(self.bias)
            dt = log_dt.uniform_(math.log(SHORTEST_DT), math.log(LONGEST_DT), generator=rng).exp()
            # The inverse of softplus, log(e^dt - 1), where dt is small.
            self.bias.copy_(dt + (-torch.expm1(-dt)).log())

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return softplus(linear(x, self.weight, self.bias))
