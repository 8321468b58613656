"""Rotary position embedding (Su et al., arXiv 2104.09864, eq. 34) over the whole width, pairs (2i, 2i + 1)."""

from functools import cache

import torch
from torch import Tensor

# ... any leading axes, D width


TABLE = 8_192


def rotation(
    positions: Tensor, width: int, *, base: float = 10_000.0, dtype: torch.dtype = torch.complex64
) -> Tensor:
    """The turn of each pair at integer positions [...]: e^(i angle), complex `dtype` [..., D/2].

    The angle of pair i at position t is t * base**(-2 i / D), formed in float64: at position 10**6 a
    float32 angle would already be wrong by 0.06. On a CPU the turns of positions below `TABLE` are looked up.
    """
    if positions.device.type == "cpu" and _in_table(positions):
        return _table(width, base, dtype)[positions]
    return _turns(positions, width, base).to(dtype)


def paces(width: int, *, base: float = 10_000.0, device: torch.device | None = None) -> Tensor:
    """By what angle each pair turns from one position to the next, float64 [D/2]."""
    return base ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)


def _turns(positions: Tensor, width: int, base: float) -> Tensor:
    angles = positions.to(torch.float64).unsqueeze(-1) * paces(width, base=base, device=positions.device)
    return torch.polar(torch.ones_like(angles), angles)


def _in_table(positions: Tensor) -> bool:
    return bool(positions.numel() and 0 <= positions.min() <= positions.max() < TABLE)


@cache
def _table(width: int, base: float, dtype: torch.dtype) -> Tensor:
    # Also when first asked for in inference, whose tensors autograd would refuse later.
    with torch.inference_mode(False):
        return _turns(torch.arange(TABLE), width, base).to(dtype)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn each pair (x[2i], x[2i + 1]) of x [..., D] by `turns` [..., D/2]: a product of complex numbers."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2)


def rotate_naive(x: Tensor, positions: Tensor, *, base: float = 10_000.0) -> Tensor:
    """The definition, pair by pair: x [T, D], positions [T]."""
    out = torch.empty_like(x)
    width = x.shape[-1]
    for i in range(width // 2):
        angle = positions.to(torch.float64) * base ** (-2 * i / width)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        out[:, 2 * i] = x[:, 2 * i] * cos - x[:, 2 * i + 1] * sin
        out[:, 2 * i + 1] = x[:, 2 * i] * sin + x[:, 2 * i + 1] * cos
    return out
