"""Gated rotary-enhanced linear attention (GRELA): arXiv 2506.13315, section 4.

G = SiLU(x W_g + b_g)              the gate
V = x W_in + b_in                  the values, used as they are
Q, K = elu(V W_qk + b_qk) + 1      positive features; rotated over the whole width before the heads are split
O = linear attention of Q, K, V    per head
L = SiLU(short convolution of V)   the local branch
Y = ((O + L) * G) W_o + b_o
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from grela.nn.decay import Decay
from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import (
    AttentionState,
    bidirectional,
    chunked,
    packed_bidirectional,
    packed_bidirectional_last,
    step,
)
from grela.ops.packing import Packing
from grela.ops.rotary import rotate
from grela.ops.short_conv import short_conv, short_conv_step

# B batch, T time, D width, H heads, K = D/H width of a head, W taps


class LayerState(NamedTuple):
    """What one layer keeps of a history: the attention's sums and the last W - 1 values [B, W - 1, D]."""

    attention: AttentionState
    tail: Tensor


class Branches(NamedTuple):
    """The parts of one layer's output before the output projection, each [B, T, D]."""

    attention: Tensor
    local: Tensor
    gate: Tensor


class GatedLinearAttention(nn.Module):
    """One GRELA layer. `rotation`, `local_branch`, `gate` can be switched off for an ablation."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        taps: int,
        rotation: bool,
        local_branch: bool,
        gate: bool,
        eps: float,
        decay: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.eps = eps
        self.rotation = rotation
        self.value = nn.Linear(width, width)
        self.query_key = nn.Linear(width, 2 * width)
        self.gate = nn.Linear(width, width) if gate else None
        self.conv = nn.Conv1d(width, width, taps, groups=width) if local_branch else None
        self.out = nn.Linear(width, width)
        self.decay = Decay(heads, width // heads // 2) if decay else None

    def forward(
        self, x: Tensor, turns: Tensor, segments: Tensor, state: LayerState
    ) -> tuple[Tensor, LayerState]:
        """Causal, over whole rows: x [B, T, D] gives y [B, T, D] and the state of the last segment."""
        branches, state = self.branches(x, turns, segments, state)
        return self.mix(branches), state

    def branches(
        self, x: Tensor, turns: Tensor, segments: Tensor, state: LayerState
    ) -> tuple[Branches, LayerState]:
        """The causal form's branches and gate, before they are joined."""
        value = self.value(x)
        parts = self._heads(value, turns)
        with torch.autocast(x.device.type, enabled=False):
            attended, attention = chunked(
                *parts, segments, state.attention, eps=self.eps, log_decay=self.log_decay()
            )
        local, tail = self._local(value, segments, state.tail)
        return Branches(attended.flatten(2), local, self._gate(x)), LayerState(attention, tail)

    def whole(self, x: Tensor, turns: Tensor, present: Tensor) -> Branches:
        """The bidirectional form's branches: `present` [B, T] is False at padding, which must lie on the right."""
        value = self.value(x)
        parts = self._heads(value, turns)
        with torch.autocast(x.device.type, enabled=False):
            attended = bidirectional(*parts, present, eps=self.eps)
        segments = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)
        local, _ = self._local(value, segments, self.empty_tail(x))
        return Branches(attended.flatten(2), local, self._gate(x))

    def packed(self, x: Tensor, turns: Tensor, packing: Packing) -> Branches:
        """`whole` of histories one after the other: x [1, P, D], turns [P, D/2], branches [1, P, D]."""
        value = self.value(x)
        parts = self._heads(value.squeeze(0), turns)
        with torch.autocast(x.device.type, enabled=False):
            attended = packed_bidirectional(*parts, packing, eps=self.eps)
        local, _ = self._local(value, packing.segments.unsqueeze(0), self.empty_tail(x))
        return Branches(attended.flatten(1).unsqueeze(0), local, self._gate(x))

    def packed_last(self, x: Tensor, turns: Tensor, packing: Packing) -> Branches:
        """`packed` at each history's last event alone, [1, B, D]: keys and values are all that others need."""
        value = self.value(x).squeeze(0)
        at_last = value.index_select(0, packing.last)
        wide, width = self.out.weight.dtype, value.shape[-1]
        query = positive_features(self._projected(at_last, slice(width)).to(wide))
        key = positive_features(self._projected(value, slice(width, None)).to(wide))
        query_rot, key_rot = query, key
        if self.rotation:
            query_rot, key_rot = rotate(query, turns.index_select(0, packing.last)), rotate(key, turns)
        q, k, q_rot, k_rot, v = (
            y.unflatten(-1, (self.heads, -1)) for y in (query, key, query_rot, key_rot, value.to(wide))
        )
        with torch.autocast(x.device.type, enabled=False):
            attended = packed_bidirectional_last(q, k, q_rot, k_rot, v, packing, eps=self.eps)
        local = self._local_at_last(value.to(wide), packing)
        gate = self._gate(x.squeeze(0).index_select(0, packing.last))
        return Branches(*(branch.unsqueeze(0) for branch in (attended.flatten(1), local, gate)))

    def step(self, x: Tensor, turns: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One event: x [B, D], turns [B, D/2]; y [B, D] and the state after it."""
        branches, state = self.step_branches(x, turns, state)
        return self.mix(branches), state

    def step_branches(self, x: Tensor, turns: Tensor, state: LayerState) -> tuple[Branches, LayerState]:
        """One event's branches and gate, each [B, D], before they are joined, and the state after it."""
        value = self.value(x)
        parts = self._heads(value, turns)
        attended, attention = step(*parts, state.attention, eps=self.eps, log_decay=self.log_decay())
        if self.conv is None:
            local, tail = torch.zeros_like(value), state.tail
        else:
            weight, bias = self._kernel()
            local, tail = short_conv_step(value.to(state.tail.dtype), weight, bias, state.tail)
            local = silu(local)
        return Branches(attended.flatten(1), local, self._gate(x)), LayerState(attention, tail)

    def mix(self, branches: Branches) -> Tensor:
        """(O + L) * G, projected."""
        y: Tensor = self.out((branches.attention + branches.local) * branches.gate)
        return y

    def empty_tail(self, x: Tensor) -> Tensor:
        """The tail before the first event: zeros [B, W - 1, D]."""
        past = 0 if self.conv is None else self.conv.kernel_size[0] - 1
        return torch.zeros(x.shape[0], past, x.shape[-1], device=x.device, dtype=self.out.weight.dtype)

    def log_decay(self) -> Tensor | None:
        """The logarithm of what is left of each key channel's sums after one position, [H, K]; None for all."""
        if self.decay is None:
            return None
        log_HK: Tensor = self.decay()
        return log_HK

    def _heads(self, value: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        # The sums and the division stay in float32 whatever the projections ran in; so autocast, which would
        # form their products in bfloat16 again, is switched off around them.
        wide = self.out.weight.dtype
        query, key = positive_features(self.query_key(value).to(wide)).chunk(2, -1)
        turned = (rotate(query, turns), rotate(key, turns)) if self.rotation else (query, key)
        split = (-1, (self.heads, -1))
        query, key, query_rot, key_rot = (x.unflatten(*split) for x in (query, key, *turned))
        return query, key, query_rot, key_rot, value.to(wide).unflatten(*split)

    def _local(self, value: Tensor, segments: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        if self.conv is None:
            return torch.zeros_like(value), tail
        weight, bias = self._kernel()
        local, tail = short_conv(value.to(tail.dtype), weight, bias, segments, tail)
        return silu(local), tail

    def _local_at_last(self, value: Tensor, packing: Packing) -> Tensor:
        """The local branch [B, D] at each history's last event, from all values [P, D]."""
        if self.conv is None:
            return torch.zeros_like(value[: len(packing.last)])
        weight, bias = self._kernel()
        back = torch.arange(weight.shape[1] - 1, -1, -1, device=value.device)
        inside_BW1 = (back < packing.lengths.unsqueeze(1)).unsqueeze(-1)
        window_BWD = value[(packing.last.unsqueeze(1) - back).clamp(min=0)] * inside_BW1
        return silu(bias + (window_BWD * weight.T).sum(1))

    def _projected(self, value: Tensor, part: slice) -> Tensor:
        """The queries or the keys before their feature map."""
        return linear(value, self.query_key.weight[part], self.query_key.bias[part])

    def _kernel(self) -> tuple[Tensor, Tensor]:
        assert self.conv is not None
        assert self.conv.bias is not None
        return self.conv.weight.squeeze(1), self.conv.bias

    def _gate(self, x: Tensor) -> Tensor:
        return torch.ones_like(x) if self.gate is None else silu(self.gate(x))
