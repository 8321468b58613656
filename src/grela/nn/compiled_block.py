"""A causal block by the compiled kernels: what `Block.forward` computes, in one call forward and one backward.

Positions go through in tiles that stay in the cache. Kept for backward is only what the kernels cannot form
again from it; dropout masks are formed again from their seeds.
"""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grela.errors import KernelError
from grela.nn.attention import LayerState
from grela.nn.block import LAYER_NORM_EPS, Block
from grela.ops.compiled.functions import Shape, addresses, kernel
from grela.ops.dropout import keep_mask
from grela.ops.linear_attention import AttentionState

# B rows, T positions of a row, P = B T positions

HEAD_WIDTHS = (16, 32, 64)


class Weights(NamedTuple):
    """A block's parameters, float32, in the order of the autograd function's arguments."""

    norm: Tensor
    norm_bias: Tensor
    value: Tensor
    value_bias: Tensor
    gate: Tensor
    gate_bias: Tensor
    query_key: Tensor
    query_key_bias: Tensor
    taps: Tensor
    taps_bias: Tensor
    out: Tensor
    out_bias: Tensor
    second_norm: Tensor
    second_norm_bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor
    log_fading: Tensor | None


class Call(NamedTuple):
    """What one call needs besides x and the weights; tensors are contiguous."""

    shape: Shape
    turns: Tensor
    segments: Tensor
    kept: Tensor
    before: LayerState
    after: LayerState
    dtype: torch.dtype


def unsupported(block: Block) -> str | None:
    """Why the kernels cannot compute this block; None if they can."""
    attention = block.attention
    width = attention.out.in_features
    if not attention.rotation or attention.gate is None or attention.conv is None:
        return "the compiled kernels have rotation, gate and local branch built in"
    if width // attention.heads not in HEAD_WIDTHS:
        return f"a head is {width // attention.heads} wide; the compiled kernels know {HEAD_WIDTHS}"
    if attention.out.weight.dtype != torch.float32:
        return f"weights are {attention.out.weight.dtype}; the compiled kernels know float32"
    return None


def compiled_block(
    block: Block,
    x: Tensor,
    turns: Tensor,
    segments: Tensor,
    state: LayerState,
    rng: torch.Generator | None = None,
) -> tuple[Tensor, LayerState]:
    """`Block.forward` on the CPU: arguments and results as there. No gradient flows through the states."""
    before = LayerState(AttentionState(*map(_fixed, state.attention)), _fixed(state.tail))
    after = LayerState(AttentionState(*(part.clone() for part in before.attention)), before.tail.clone())
    given = Call(
        shape_of(block, x.shape, rng),
        torch.view_as_real(turns.contiguous()),
        segments.contiguous(),
        _kept(block.drop_path, segments, rng),
        before,
        after,
        product_dtype(),
    )
    return computed(block, x, given), after


def computed(block: Block, x: Tensor, given: Call) -> Tensor:
    """The block's result [B, T, D] by the kernels; `given.after` is updated in place."""
    out: Tensor = _CompiledBlock.apply(x, given, *weights_of(block))  # type: ignore[no-untyped-call]
    return out


def shape_of(block: Block, rows: torch.Size, rng: torch.Generator | None, *, whole: bool = False) -> Shape:
    """The sizes and numbers of one call on x of shape `rows`, [B, T, D]; draws the seeds of dropout."""
    attention = block.attention
    assert attention.conv is not None
    rate = block.feed_forward.rate if rng is not None else 0.0
    seeds = (0, 0) if rng is None or rate == 0 else _two_seeds(rng)
    sizes = (*rows, block.feed_forward.up.out_features, attention.heads, attention.conv.kernel_size[0])
    return Shape(*sizes, LAYER_NORM_EPS, attention.eps, rate, *seeds, whole)


def product_dtype() -> torch.dtype:
    """What products are formed in: autocast's type where it is on."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def _fixed(part: Tensor) -> Tensor:
    """A part of a state, contiguous, refused where a gradient would have to flow into it."""
    if part.requires_grad and torch.is_grad_enabled():
        raise KernelError("the compiled kernels have no gradient by the initial state; detach it")
    return part.contiguous()


def weights_of(block: Block) -> Weights:
    """The parameters that the kernels read."""
    a, f = block.attention, block.feed_forward
    assert a.gate is not None
    assert a.conv is not None
    assert a.conv.bias is not None
    return Weights(
        block.attention_norm.weight,
        block.attention_norm.bias,
        a.value.weight,
        a.value.bias,
        a.gate.weight,
        a.gate.bias,
        a.query_key.weight,
        a.query_key.bias,
        a.conv.weight,
        a.conv.bias,
        a.out.weight,
        a.out.bias,
        block.feed_forward_norm.weight,
        block.feed_forward_norm.bias,
        f.up.weight,
        f.up.bias,
        f.down.weight,
        f.down.bias,
        None if (log_decay := a.log_decay()) is None else log_decay.flatten().contiguous(),
    )


def _two_seeds(rng: torch.Generator) -> tuple[int, int]:
    first, second = torch.randint(2**63 - 1, (2,), generator=rng).tolist()
    return first, second


def _kept(rate: float, segments: Tensor, rng: torch.Generator | None) -> Tensor:
    """What the attention's output is multiplied by at each position, float32 [B, T]: drop path's draw a history."""
    if rng is None or rate == 0:
        return torch.ones(segments.shape)
    histories = int(segments.max()) + 1
    return keep_mask((len(segments), histories), rate, rng, torch.float32).gather(1, segments)


def zeros_like_each(weights: list[Tensor | None]) -> list[Tensor | None]:
    """Zeros of each weight's shape, in one piece of memory; None for None."""
    sizes = [0 if weight is None else weight.numel() for weight in weights]
    parts = torch.zeros(sum(sizes)).split(sizes)
    return [None if w is None else part.view_as(w) for part, w in zip(parts, weights, strict=True)]


class _CompiledBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Call, *weights: Tensor | None) -> Tensor:
        x = x.contiguous()
        P, width = given.shape.B * given.shape.length, given.shape.D
        narrow = x.new_empty(P, 7 * width + given.shape.F, dtype=given.dtype)
        wide = x.new_empty(P, width + 4)
        result = torch.empty_like(x)
        kernel("block_forward", given.dtype)(
            ctypes.addressof(given.shape),
            addresses((x, given.turns, given.segments, given.kept)),
            addresses(weights),
            addresses((*given.after.attention, given.after.tail)),
            narrow.data_ptr(),
            wide.data_ptr(),
            result.data_ptr(),
        )
        ctx.given = given
        ctx.save_for_backward(x, narrow, wide, *weights)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given: Call = ctx.given
        x, narrow, wide, *weights = ctx.saved_tensors
        grad, by_x = grads[0].contiguous(), torch.empty_like(x)
        by = zeros_like_each(weights)
        kernel("block_backward", given.dtype)(
            ctypes.addressof(given.shape),
            addresses((x, given.turns, given.segments, given.kept)),
            addresses(weights),
            addresses((*given.before.attention, given.before.tail)),
            narrow.data_ptr(),
            wide.data_ptr(),
            grad.data_ptr(),
            addresses(by),
            by_x.data_ptr(),
        )
        return by_x, None, *by
