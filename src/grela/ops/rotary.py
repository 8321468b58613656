"""Rotary position embedding (Su et al., arXiv 2104.09864, eq. 34) over the whole width, pairs (2i, 2i + 1)."""

import torch
from torch import Tensor

# ... any leading axes, D width


def rotation(positions: Tensor, width: int, *, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles at integer positions [...]: two float32 tensors [..., D/2].

    The angle of pair i at position t is t * base**(-2 i / D), formed in float64: at position 10**6 a
    float32 angle would already be wrong by 0.06.
    """
    pairs = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device)
    angles = positions.to(torch.float64).unsqueeze(-1) * base ** (-pairs / width)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[2i], x[2i + 1]) of x [..., D] by its angle; cos and sin are [..., D/2]."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((first * cos - second * sin, first * sin + second * cos), -1).flatten(-2)
