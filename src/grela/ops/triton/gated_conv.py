"""u = (attended + silu(conv(value))) * silu(gate) by Triton kernels, reading and writing each tensor once."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grela.ops.triton import gated_conv_kernels as kernels
from grela.ops.triton.launch import OPTIONS, check_dtype, in_rows, on_device_of

# B batch, T time, D width, W taps

# Four elements a thread: with more, backward runs out of registers.
BLOCK_T = 16
BLOCK_D = 32


def triton_gated_conv(
    attended: Tensor,
    value: Tensor,
    gate: Tensor,
    weight: Tensor,
    bias: Tensor,
    segments: Tensor,
    tail: Tensor,
) -> tuple[Tensor, Tensor]:
    """(attended + silu(y)) * silu(gate) [B, T, D] in the dtype of `value`, and the new tail; y, tail of `short_conv`.

    attended, value, gate [B, T, D] float32 or bfloat16, gate before its SiLU; weight, bias, segments, tail as in
    `short_conv`. All is formed in float32. Raises ConfigError for another dtype, or a device that runs no kernels.
    """
    check_dtype(attended=attended, value=value, gate=gate, tail=tail)
    segments = segments.to(torch.int64).contiguous()
    u: Tensor = _GatedConv.apply(  # type: ignore[no-untyped-call]
        attended, value, gate, weight, bias, segments, tail
    )
    return u, _next_tail(value, segments, tail)


def _next_tail(value: Tensor, segments: Tensor, tail: Tensor) -> Tensor:
    """The last W - 1 inputs, zero where they are not of the last segment."""
    past = tail.shape[1]
    if past == 0:
        return tail
    inputs_BPD = torch.cat((tail, value[:, -past:].to(tail.dtype)), 1)[:, -past:]
    segments_BP = torch.cat((segments[:, :1].expand(-1, past), segments[:, -past:]), 1)[:, -past:]
    return inputs_BPD * (segments_BP == segments[:, -1:]).unsqueeze(-1)


def _grid(batch: int, length: int, width: int) -> tuple[int]:
    return (batch * -(-length // BLOCK_T) * -(-width // BLOCK_D),)


class _GatedConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        attended: Tensor,
        value: Tensor,
        gate: Tensor,
        weight: Tensor,
        bias: Tensor,
        segments: Tensor,
        tail: Tensor,
    ) -> Tensor:
        batch, length, width = value.shape
        branches = tuple(in_rows(x, inner=1) for x in (attended, value, gate))
        rest = weight.contiguous(), bias.contiguous(), segments, tail.contiguous()
        u = value.new_empty(value.shape)
        with on_device_of(value):
            kernels.gated_conv_kernel[_grid(batch, length, width)](
                *branches,
                *rest,
                u,
                length,
                width,
                *(x.stride(0) for x in branches),
                TAPS=weight.shape[1],
                BLOCK_T=BLOCK_T,
                BLOCK_D=BLOCK_D,
                **OPTIONS,
            )
        ctx.save_for_backward(*branches, *rest)
        ctx.shape = value.shape
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        attended, value, gate, weight, bias, segments, tail = ctx.saved_tensors
        batch, length, width = ctx.shape
        taps = weight.shape[1]
        blocks: dict[str, Any] = {"TAPS": taps, "BLOCK_T": BLOCK_T, "BLOCK_D": BLOCK_D, **OPTIONS}
        grad_attended, grad_value, grad_gate = (x.new_empty(ctx.shape) for x in (attended, value, gate))
        grad_conv = value.new_empty(ctx.shape, dtype=torch.float32)
        grad_tail = torch.empty_like(tail)
        time_blocks = batch * -(-length // BLOCK_T)
        partial = value.new_empty(time_blocks, taps + 1, width, dtype=torch.float32)
        with on_device_of(value):
            kernels.grad_branches_kernel[_grid(batch, length, width)](
                attended,
                value,
                gate,
                weight,
                bias,
                segments,
                tail,
                grads[0].contiguous(),
                grad_attended,
                grad_gate,
                grad_conv,
                partial,
                length,
                width,
                *(x.stride(0) for x in (attended, value, gate)),
                **blocks,
            )
            kernels.grad_past_kernel[_grid(batch, length + taps - 1, width)](
                grad_conv, weight, segments, grad_value, grad_tail, length, width, **blocks
            )
        by_parameters = partial.sum(0)
        by_weight, by_bias = by_parameters[:taps].T.to(weight.dtype), by_parameters[taps].to(bias.dtype)
        return grad_attended, grad_value, grad_gate, by_weight, by_bias, None, grad_tail
