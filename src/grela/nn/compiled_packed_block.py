"""A bidirectional block whose second half runs by the compiled kernels: what `Block.packed` computes, in fewer passes.

The sums over histories stay PyTorch's. From the output projection on, everything between two matrix products is one
kernel, and dropout masks are formed again in backward from their seeds, as in `compiled_block`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from grela.nn.block import LAYER_NORM_EPS, Block
from grela.ops.compiled.functions import call
from grela.ops.packing import Packing

# P positions, D width


class Weights(NamedTuple):
    """The parameters of a block's second half, float32, in the order of the autograd function's arguments."""

    out: Tensor
    out_bias: Tensor
    norm: Tensor
    norm_bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor


class Dropped(NamedTuple):
    """What is dropped: `kept` [P] multiplies the attention's output; the rate and seeds of the two dropouts."""

    kept: Tensor
    rate: float
    inner: int
    outer: int


def compiled_packed_block(
    block: Block, x: Tensor, turns: Tensor, packing: Packing, rng: torch.Generator | None = None
) -> Tensor:
    """`Block.packed` on the CPU: x [1, P, D] gives [1, P, D]; see `compiled_block.unsupported` for what it knows."""
    branches = block.attention.packed(block.attention_norm(x), turns, packing)
    u = (branches.attention + branches.local) * branches.gate
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    dropped = _dropped(block, packing, rng)
    with torch.autocast("cpu", enabled=False):
        out: Tensor = _SecondHalf.apply(  # type: ignore[no-untyped-call]
            x.squeeze(0), u.squeeze(0).to(dtype), dropped, *_weights(block)
        )
    return out.unsqueeze(0)


def _dropped(block: Block, packing: Packing, rng: torch.Generator | None) -> Dropped:
    if rng is None:
        return Dropped(torch.ones(len(packing.segments)), 0.0, 0, 0)
    kept = block.kept_paths(packing, rng).index_select(0, packing.segments)
    inner, outer = torch.randint(2**63 - 1, (2,), generator=rng).tolist()
    return Dropped(kept, block.feed_forward.rate, inner, outer)


def _weights(block: Block) -> Weights:
    attention, norm, f = block.attention, block.feed_forward_norm, block.feed_forward
    return Weights(
        attention.out.weight,
        attention.out.bias,
        norm.weight,
        norm.bias,
        f.up.weight,
        f.up.bias,
        f.down.weight,
        f.down.bias,
    )


class _SecondHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor, dropped: Dropped, *weights: Tensor) -> Tensor:
        w = Weights(*weights)
        P, width = x.shape
        dtype = u.dtype
        x, u = x.contiguous(), u.contiguous()
        out, up, down = (m.to(dtype) for m in (w.out, w.up, w.down))
        middle, normed = torch.empty_like(x), torch.empty_like(u)
        mean, scale = x.new_empty(P), x.new_empty(P)
        call(
            "add_normalise", dtype, x, u @ out.T, w.out_bias, dropped.kept, w.norm, w.norm_bias,
            LAYER_NORM_EPS, P, width, middle, normed, mean, scale,
        )  # fmt: skip
        hidden = normed @ up.T
        active = torch.empty_like(hidden)
        call("gelu_dropout", dtype, hidden, w.up_bias, dropped.rate, dropped.inner, P, len(up), active)
        result = torch.empty_like(x)
        z = active @ down.T
        call("add_dropout", dtype, middle, z, w.down_bias, dropped.rate, dropped.outer, P, width, result)
        ctx.dropped = dropped
        ctx.save_for_backward(u, middle, normed, mean, scale, hidden, *weights)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dropped: Dropped = ctx.dropped
        u, middle, normed, mean, scale, hidden, *weights = ctx.saved_tensors
        w = Weights(*weights)
        by = Weights(*(torch.zeros_like(weight) for weight in weights))
        P, width = middle.shape
        dtype = u.dtype
        grad = grads[0].contiguous()
        out, up, down = (m.to(dtype) for m in (w.out, w.up, w.down))
        by_z = torch.empty_like(u)
        call(
            "add_dropout_grad", dtype, grad, dropped.rate, dropped.outer, P, width, by_z, by.down_bias
        )  # fmt: skip
        by_hidden, active = by_z @ down, torch.empty_like(hidden)
        inner = (dropped.rate, dropped.inner, P, len(up))
        call("gelu_dropout_grad", dtype, by_hidden, hidden, w.up_bias, *inner, active, by.up_bias)
        by.down.copy_(by_z.T @ active)
        by.up.copy_(by_hidden.T @ normed)
        by_x, by_y = torch.empty_like(middle), torch.empty_like(u)
        call(
            "add_normalise_grad", dtype, by_hidden @ up, grad, middle, dropped.kept, w.norm, mean, scale,
            P, width, by_x, by_y, by.out_bias, by.norm, by.norm_bias,
        )  # fmt: skip
        by.out.copy_(by_y.T @ u)
        return by_x, by_y @ out, None, *by
