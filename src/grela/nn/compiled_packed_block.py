"""Bidirectional blocks by the compiled kernels: what `Block.packed` and `packed_last` compute, a call each way."""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grela.nn.attention import LayerState
from grela.nn.block import Block, PackedForms
from grela.nn.compiled_block import Call, computed, product_dtype, shape_of, weights_of, zeros_like_each
from grela.ops.compiled.functions import Shape, addresses, kernel
from grela.ops.linear_attention import AttentionState
from grela.ops.packing import Packing

# B histories, P positions, D width

# Histories are whole: nothing comes before and nothing is carried on.
NO_STATE = LayerState(AttentionState(torch.empty(0), torch.empty(0)), torch.empty(0))


class LastCall(NamedTuple):
    """What one call at the last positions needs besides x and the weights; tensors are contiguous."""

    shape: Shape
    turns: Tensor
    last: Tensor
    kept: Tensor
    dtype: torch.dtype


def compiled_packed_block(
    block: Block, x: Tensor, turns: Tensor, packing: Packing, rng: torch.Generator | None = None
) -> Tensor:
    """`Block.packed` on the CPU: arguments and result as there."""
    kept = _kept(block, packing, rng).index_select(0, packing.segments)
    given = Call(
        shape_of(block, x.shape, rng, whole=True),
        torch.view_as_real(turns.contiguous()),
        packing.segments,
        kept,
        NO_STATE,
        NO_STATE,
        product_dtype(),
    )
    return computed(block, x, given)


def compiled_packed_last(
    block: Block, x: Tensor, turns: Tensor, packing: Packing, rng: torch.Generator | None = None
) -> Tensor:
    """`Block.packed_last` on the CPU: arguments and result as there."""
    kept = _kept(block, packing, rng)
    sizes = torch.Size((len(packing.lengths), *x.shape[1:]))
    shape = shape_of(block, sizes, rng, whole=True)
    turns = torch.view_as_real(turns.contiguous())
    given = LastCall(shape, turns, packing.last, kept, product_dtype())
    out: Tensor = _CompiledLast.apply(x, given, *weights_of(block))  # type: ignore[no-untyped-call]
    return out


COMPILED_PACKED = PackedForms(every=compiled_packed_block, last=compiled_packed_last)


def _kept(block: Block, packing: Packing, rng: torch.Generator | None) -> Tensor:
    """What each history's attention output is multiplied by, [B]."""
    return torch.ones(len(packing.lengths)) if rng is None else block.kept_paths(packing, rng)


class _CompiledLast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, given: LastCall, *weights: Tensor | None) -> Tensor:
        x = x.contiguous()
        B, P, width = given.shape.B, given.shape.length, given.shape.D
        narrow = x.new_empty(3 * P * width + B * (7 * width + given.shape.F), dtype=given.dtype)
        wide = x.new_empty(2 * P + B * (width + 4))
        result = x.new_empty(1, B, width)
        kernel("block_last_forward", given.dtype)(
            ctypes.addressof(given.shape),
            addresses((x, given.turns, given.last, given.kept)),
            addresses(weights),
            narrow.data_ptr(),
            wide.data_ptr(),
            result.data_ptr(),
        )
        ctx.given = given
        ctx.save_for_backward(x, narrow, wide, *weights)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given: LastCall = ctx.given
        x, narrow, wide, *weights = ctx.saved_tensors
        grad, by_x = grads[0].contiguous(), torch.empty_like(x)
        by = zeros_like_each(weights)
        kernel("block_last_backward", given.dtype)(
            ctypes.addressof(given.shape),
            addresses((x, given.turns, given.last, given.kept)),
            addresses(weights),
            narrow.data_ptr(),
            wide.data_ptr(),
            grad.data_ptr(),
            addresses(by),
            by_x.data_ptr(),
        )
        return by_x, None, *by
