"""Positive features of queries and keys, plain and rotated, by one Triton kernel each way."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grela.ops.triton import features_kernels as kernels
from grela.ops.triton.launch import OPTIONS, check_dtype, in_rows, on_device_of

# B batch, T time, D width

BLOCK_R = 16
BLOCK_D = 64


def triton_features(x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """f = `positive_features(x)`, and each half of f rotated: float32 [B, T, 2 D] twice, queries before keys.

    x [B, T, 2 D] float32 or bfloat16; turns complex64 [B, T, D / 2] of `rotation`. Raises ConfigError for another
    dtype, or a device that runs no kernels.
    """
    check_dtype(x=x)
    features, rotated = _Features.apply(x, torch.view_as_real(turns))  # type: ignore[no-untyped-call]
    return features, rotated


def _grid(rows: int, width: int) -> tuple[int]:
    return (-(-rows // BLOCK_R) * -(-2 * width // BLOCK_D),)


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        flat, turns = in_rows(x, inner=1), turns.float().contiguous()
        rows, width = len(flat), x.shape[-1] // 2
        features, rotated = (x.new_empty(x.shape, dtype=torch.float32) for _ in range(2))
        with on_device_of(x):
            kernels.features_kernel[_grid(rows, width)](
                flat,
                turns,
                features,
                rotated,
                rows,
                width,
                flat.stride(0),
                BLOCK_R=BLOCK_R,
                BLOCK_D=BLOCK_D,
                **OPTIONS,
            )
        ctx.save_for_backward(flat, turns)
        ctx.shape = x.shape
        return features, rotated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        flat, turns = ctx.saved_tensors
        rows, width = len(flat), ctx.shape[-1] // 2
        by_features, by_rotated = (grad.float().contiguous() for grad in grads)
        grad_x = flat.new_empty(ctx.shape)
        with on_device_of(flat):
            kernels.grad_features_kernel[_grid(rows, width)](
                flat,
                turns,
                by_features,
                by_rotated,
                grad_x,
                rows,
                width,
                flat.stride(0),
                BLOCK_R=BLOCK_R,
                BLOCK_D=BLOCK_D,
                **OPTIONS,
            )
        return grad_x, None
