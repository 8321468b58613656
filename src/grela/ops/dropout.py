"""Dropout (Srivastava et al., 2014) and drop path (Huang et al., arXiv 1603.09382) from an explicit generator.

No generator means evaluation: nothing is dropped.
"""

import torch
from torch import Tensor

_LEVELS = 1 << 16


def keep_mask(
    shape: torch.Size | tuple[int, ...], rate: float, rng: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """0 with probability `rate` (to the nearest 1/65,536), else 1 / (1 - rate): mean 1, on the generator's device.

    Sixteen random bits an element, four elements a draw: a Bernoulli draw an element costs several times more.
    """
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    count = torch.Size(shape).numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=rng.device)
    bits.random_(-(2**63), None, generator=rng)
    kept = bits.view(torch.int16)[:count] >= dropped - _LEVELS // 2
    return kept.view(shape).to(dtype).mul_(_LEVELS / (_LEVELS - dropped))


def dropout(x: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    """Zero each element of x with probability `rate` and scale the rest up; x itself without a generator."""
    if rng is None or rate == 0:
        return x
    return x * keep_mask(x.shape, rate, rng, x.dtype)


def drop_path(y: Tensor, rate: float, segments: Tensor, rng: torch.Generator | None) -> Tensor:
    """Zero y [B, T, D] for whole histories: one draw for each segment of each row; segments [B, T] from 0."""
    if rng is None or rate == 0:
        return y
    batch = segments.shape[0]
    per_history = keep_mask((batch, int(segments.max()) + 1), rate, rng, y.dtype)
    return y * per_history.gather(1, segments).unsqueeze(-1)


def static_drop_path(y: Tensor, rate: float, segments: Tensor, rng: torch.Generator | None) -> Tensor:
    """`drop_path` with T draws a row however many histories it has: no shape depends on what is in `segments`.

    So nothing waits for the device, and a CUDA graph can hold it. One row alone loses the same histories as there.
    """
    if rng is None or rate == 0:
        return y
    per_history = keep_mask(segments.shape, rate, rng, y.dtype)
    return y * per_history.gather(1, segments).unsqueeze(-1)
