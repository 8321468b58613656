"""A causal block by the compiled kernels: what `Block.forward` computes, in fewer passes over memory.

Matrix products stay PyTorch's. Everything between two of them is one kernel, which keeps for backward only what
it cannot form again from its inputs; dropout masks are formed again from their seeds.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from grela.errors import KernelError
from grela.nn.attention import LayerState
from grela.nn.block import LAYER_NORM_EPS, Block
from grela.ops.compiled.functions import call
from grela.ops.dropout import keep_mask
from grela.ops.linear_attention import AttentionState

# B rows, T positions of a row, P = B T positions, D width, H heads, W taps

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


class Call(NamedTuple):
    """What one call needs besides the weights and x."""

    turns: Tensor
    segments: Tensor
    before: LayerState
    after: LayerState
    kept: Tensor
    rate: float
    seeds: tuple[int, int]
    heads: int
    eps: float
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
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    rate = block.feed_forward.rate if rng is not None else 0.0
    seeds = (0, 0) if rng is None or rate == 0 else _two_seeds(rng)
    kept = _kept(block.drop_path, segments, rng)
    before = LayerState(AttentionState(*map(_fixed, state.attention)), _fixed(state.tail))
    after = LayerState(AttentionState(*(part.clone() for part in before.attention)), before.tail.clone())
    given = Call(
        torch.view_as_real(turns.contiguous()),
        segments.contiguous(),
        before,
        after,
        kept,
        rate,
        seeds,
        block.attention.heads,
        block.attention.eps,
        dtype,
    )
    with torch.autocast("cpu", enabled=False):
        out: Tensor = _CompiledBlock.apply(x, given, *_weights(block))  # type: ignore[no-untyped-call]
    return out, after


def _fixed(part: Tensor) -> Tensor:
    """A part of a state, contiguous, refused where a gradient would have to flow into it."""
    if part.requires_grad and torch.is_grad_enabled():
        raise KernelError("the compiled kernels have no gradient by the initial state; detach it")
    return part.contiguous()


def _weights(block: Block) -> Weights:
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


class _CompiledBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Call, *weights: Tensor) -> Tensor:
        w = Weights(*weights)
        batch, length, width = x.shape
        x = x.contiguous()
        P, dtype = batch * length, given.dtype
        value_gate = torch.cat((w.value, w.gate)).to(dtype)
        query_key, out, up, down = (m.to(dtype) for m in (w.query_key, w.out, w.up, w.down))

        normed, mean, scale = x.new_empty(P, width, dtype=dtype), x.new_empty(P), x.new_empty(P)
        call("normalise", dtype, x, w.norm, w.norm_bias, LAYER_NORM_EPS, P, width, normed, mean, scale)
        vg = torch.addmm(torch.cat((w.value_bias, w.gate_bias)).to(dtype), normed, value_gate.T)
        qk = torch.addmm(w.query_key_bias.to(dtype), vg[:, :width], query_key.T)
        u = torch.empty_like(normed)
        call("mix", dtype, vg, qk, *_layer(given, w, batch, length, width), *_flat(given.after), u)
        y = u @ out.T
        middle = torch.empty_like(x)
        normed_2, mean_2, scale_2 = torch.empty_like(normed), x.new_empty(P), x.new_empty(P)
        call(
            "add_normalise", dtype, x, y, w.out_bias, given.kept, w.second_norm, w.second_norm_bias,
            LAYER_NORM_EPS, P, width, middle, normed_2, mean_2, scale_2,
        )  # fmt: skip
        hidden = normed_2 @ up.T
        active = torch.empty_like(hidden)
        dropout = (given.rate, given.seeds[0], P, up.shape[0])
        call("gelu_dropout", dtype, hidden, w.up_bias, *dropout, active)
        z = active @ down.T
        result = torch.empty_like(x)
        call("add_dropout", dtype, middle, z, w.down_bias, given.rate, given.seeds[1], P, width, result)

        ctx.given = given
        ctx.save_for_backward(
            x, normed, mean, scale, vg, qk, u, middle, normed_2, mean_2, scale_2, hidden, *weights
        )
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given: Call = ctx.given
        x, normed, mean, scale, vg, qk, u, middle, normed_2, mean_2, scale_2, hidden, *weights = (
            ctx.saved_tensors
        )
        w = Weights(*weights)
        by = Weights(*(torch.zeros_like(weight) for weight in weights))
        batch, length, width = x.shape
        P, dtype = batch * length, given.dtype
        grad = grads[0].contiguous()
        value_gate = torch.cat((w.value, w.gate)).to(dtype)
        query_key, out, up, down = (m.to(dtype) for m in (w.query_key, w.out, w.up, w.down))

        by_z = torch.empty_like(normed)
        call("add_dropout_grad", dtype, grad, given.rate, given.seeds[1], P, width, by_z, by.down_bias)
        by_hidden, active = by_z @ down, torch.empty_like(hidden)
        dropout = (given.rate, given.seeds[0], P, up.shape[0])
        call("gelu_dropout_grad", dtype, by_hidden, hidden, w.up_bias, *dropout, active, by.up_bias)
        by.down.copy_(by_z.T @ active)
        by.up.copy_(by_hidden.T @ normed_2)
        by_middle, by_y = torch.empty_like(x), torch.empty_like(normed)
        call(
            "add_normalise_grad", dtype, by_hidden @ up, grad, middle, given.kept, w.second_norm, mean_2, scale_2,
            P, width, by_middle, by_y, by.out_bias, by.second_norm, by.second_norm_bias,
        )  # fmt: skip
        by.out.copy_(by_y.T @ u)
        by_vg, by_qk = torch.empty_like(vg), torch.empty_like(qk)
        call(
            "mix_grad", dtype, vg, qk, *_layer(given, w, batch, length, width), *_flat(given.before),
            by_y @ out, by_vg, by_qk, by.taps, by.taps_bias,
        )  # fmt: skip
        by.query_key.copy_(by_qk.T @ vg[:, :width])
        by.query_key_bias.copy_(_column_sums(by_qk))
        by_vg[:, :width] += by_qk @ query_key
        by_value_gate, by_value_gate_bias = by_vg.T @ normed, _column_sums(by_vg)
        for name, part in (("value", slice(width)), ("gate", slice(width, None))):
            getattr(by, name).copy_(by_value_gate[part])
            getattr(by, name + "_bias").copy_(by_value_gate_bias[part])
        by_x = torch.empty_like(x)
        call(
            "normalise_grad", dtype, by_vg @ value_gate, by_middle, x, w.norm, mean, scale,
            P, width, by_x, by.norm, by.norm_bias,
        )  # fmt: skip
        return by_x, None, *by


def _layer(given: Call, w: Weights, batch: int, length: int, width: int) -> tuple[Any, ...]:
    """The arguments of `mix` and `mix_grad` from `turns` to `eps`."""
    taps = w.taps.shape[-1]
    sizes = (batch, length, width, given.heads, taps)
    return given.turns, w.taps, w.taps_bias, given.segments, *sizes, given.eps


def _flat(state: LayerState) -> tuple[Tensor, Tensor, Tensor]:
    return state.attention.S, state.attention.z, state.tail


def _column_sums(x: Tensor) -> Tensor:
    """float32 [C] of [P, C]."""
    return x.sum(0, dtype=torch.float32)
