"""What the past contributes to linear attention: a value of constant size."""

from typing import NamedTuple

import torch
from torch import Tensor

# B batch, H heads, K key width, V value width

# The denominator is a sum of products of positive features; eps only keeps an underflow from dividing by zero.
EPS = 1e-6


class AttentionState(NamedTuple):
    """S [B, H, K, V] = sum of outer products k~ v; z [B, H, K] = sum of k. Both float32 or wider."""

    S: Tensor
    z: Tensor


def empty_state(batch: int, heads: int, keys: int, values: int, *, like: Tensor) -> AttentionState:
    """The state before the first event: zeros, with the dtype (at least float32) and device of `like`."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return AttentionState(
        torch.zeros(batch, heads, keys, values, dtype=dtype, device=like.device),
        torch.zeros(batch, heads, keys, dtype=dtype, device=like.device),
    )
