"""The Mamba block (Gu and Dao, arXiv 2312.00752, section 3.4 and figure 3).

    u, z     = x W_in                              twice the width each
    u        = SiLU(causal depthwise convolution of u)
    r, B, C  = u W_select;   dt = softplus(r W_dt + b_dt)
    y        = (selective scan of u by dt, A, B, C + D u) * SiLU(z)
    out      = y W_out

Only the convolution and dt have biases. A = -(1 .. N) and D = 1 at the start, as in the authors' code; the map
to dt begins like all maps (`grela.nn.init`), where theirs spreads step sizes from .001 to .1.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from grela.ops import selective_scan
from grela.ops.selective_scan import Scan
from grela.ops.short_conv import short_conv, short_conv_step

# S histories, T time, D width, E channels, N places of a channel's state, R rank of dt, W taps


class MambaState(NamedTuple):
    """What a block keeps of a history: the scan's state [S, E, N] and the convolution's last inputs [S, W - 1, E]."""

    scan: Tensor
    tail: Tensor


class Mamba(nn.Module):
    """x [S, T, D] gives [S, T, D], causal; `scan` is what computes the selective scan."""

    def __init__(self, width: int, *, state: int, taps: int, expand: int) -> None:
        super().__init__()
        channels, self.rank = expand * width, math.ceil(width / 16)
        self.into = nn.Linear(width, 2 * channels, bias=False)
        self.conv = nn.Conv1d(channels, channels, taps, groups=channels)
        self.select = nn.Linear(channels, self.rank + 2 * state, bias=False)
        self.dt = nn.Linear(self.rank, channels)
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
        dt, A, B, C = self._selected(u)
        with torch.autocast(x.device.type, enabled=False):
            y = scan(u, dt, A, B, C) + self.skip * u
        out: Tensor = self.out(y * silu(gate))
        return out

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """One event: x [S, D] gives [S, D] and the state after it."""
        u, gate = self.into(x).chunk(2, -1)
        u, tail = short_conv_step(u.to(self.log_A.dtype), *self._kernel(), state.tail)
        u = silu(u)
        dt, A, B, C = self._selected(u)
        with torch.autocast(x.device.type, enabled=False):
            y, scanned = selective_scan.step(u, dt, A, B, C, state.scan)
            y = y + self.skip * u
        out: Tensor = self.out(y * silu(gate))
        return out, MambaState(scanned, tail)

    def empty_state(self, histories: int) -> MambaState:
        """Of histories without events."""
        taps = self.conv.kernel_size[0]
        tail = self.log_A.new_zeros(histories, taps - 1, len(self.log_A))
        return MambaState(self.log_A.new_zeros(histories, *self.log_A.shape), tail)

    def _selected(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the scan makes of u [..., E]: dt [..., E], A [E, N], B and C [..., N]."""
        selected = self.select(u).to(u.dtype)
        rank, B, C = selected.split((self.rank, *2 * (self.log_A.shape[1],)), -1)
        with torch.autocast(rank.device.type, enabled=False):
            dt = softplus(self.dt(rank))
        return dt, -self.log_A.exp(), B, C

    def _convolved(self, u: Tensor) -> Tensor:
        one_history = torch.zeros(u.shape[:2], dtype=torch.int64, device=u.device)
        y, _ = short_conv(u, *self._kernel(), one_history, self.empty_state(len(u)).tail)
        return y

    def _kernel(self) -> tuple[Tensor, Tensor]:
        assert self.conv.bias is not None
        return self.conv.weight.squeeze(1), self.conv.bias
