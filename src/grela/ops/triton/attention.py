"""Causal linear attention by Triton kernels: `linear_attention.naive` in time and memory linear in T."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grela.ops.linear_attention.state import EPS, AttentionState
from grela.ops.triton import attention_kernels as kernels
from grela.ops.triton.launch import OPTIONS, check_dtype, dot_block, in_rows, on_device_of, product_precision

# B batch, T time, H heads, K key width, V value width, N chunks, X = K * V + K floats of a state

CHUNK = 32
# Of `carry_kernel`: slots summed at once, and floats of a state a program carries.
CARRY_SLOTS = 32
CARRY_BLOCK = 32


def triton_attention(
    q: Tensor,
    k: Tensor,
    q_rot: Tensor,
    k_rot: Tensor,
    v: Tensor,
    segments: Tensor,
    state: AttentionState,
    *,
    eps: float = EPS,
    chunk: int = CHUNK,
) -> tuple[Tensor, AttentionState]:
    """`naive`, arguments and results as there: inputs float32 or bfloat16, state and all sums float32.

    The output has the wider dtype of q_rot and v. Products of float32 are formed in float32, products of
    bfloat16 in TF32; `chunk` is a power of two from 16. Raises ConfigError for another dtype, or a device that
    runs no kernels.
    """
    check_dtype(q=q, k=k, q_rot=q_rot, k_rot=k_rot, v=v)
    initial_BHX = torch.cat((state.S.flatten(2), state.z), -1).float()
    out, final_BHX = _Attention.apply(  # type: ignore[no-untyped-call]
        q, k, q_rot, k_rot, v, segments, initial_BHX, eps, chunk
    )
    width = state.S.shape[2] * state.S.shape[3]
    final = AttentionState(final_BHX[..., :width].view_as(state.S), final_BHX[..., width:])
    return out, final


class _Shape(NamedTuple):
    """The sizes that all launches share."""

    batch: int
    length: int
    heads: int
    keys: int
    values: int
    chunk: int
    precision: str

    @property
    def chunks(self) -> int:
        return -(-self.length // self.chunk)

    @property
    def grid(self) -> tuple[int]:
        """One program a chunk of a head of a row."""
        return (self.chunks * self.batch * self.heads,)

    @property
    def state_width(self) -> int:
        return self.keys * self.values + self.keys

    def blocks(self) -> dict[str, Any]:
        """The kernels' compile-time arguments and launch options."""
        return {
            "K": self.keys,
            "V": self.values,
            "BLOCK_K": dot_block(self.keys),
            "BLOCK_V": dot_block(self.values),
            "C": self.chunk,
            "PRECISION": self.precision,
            # Tiles of wide heads need the registers of more threads.
            "num_warps": 4 if max(self.keys, self.values) <= 16 else 8,
            **OPTIONS,
        }

    def slots(self, like: Tensor) -> Tensor:
        """Room for a state before each chunk and after the last, [B, H, N + 1, X]."""
        shape = (self.batch, self.heads, self.chunks + 1, self.state_width)
        return like.new_empty(shape, dtype=torch.float32)

    def carry(self, added: Tensor, segments: Tensor, *, reverse: bool) -> Tensor:
        """The states in all slots from what each slot adds."""
        states = torch.empty_like(added)
        blocks = -(-self.state_width // CARRY_BLOCK)
        kernels.carry_kernel[(self.batch * self.heads * blocks,)](
            added,
            states,
            segments,
            self.length,
            self.heads,
            self.chunks + 1,
            self.state_width,
            blocks,
            C=self.chunk,
            SLOTS=CARRY_SLOTS,
            BLOCK=CARRY_BLOCK,
            REVERSE=reverse,
            **OPTIONS,
        )
        return states


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        q_rot: Tensor,
        k_rot: Tensor,
        v: Tensor,
        segments: Tensor,
        initial_BHX: Tensor,
        eps: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        batch, length, heads, keys = q.shape
        precision = product_precision(q, k, q_rot, k_rot, v)
        shape = _Shape(batch, length, heads, keys, v.shape[-1], chunk, precision)
        inputs = tuple(in_rows(x, inner=2) for x in (q, k, q_rot, k_rot, v))
        segments = segments.to(torch.int64).contiguous()
        states, out, denominators = _forward(shape, inputs, segments, initial_BHX, eps)
        ctx.shape = shape
        ctx.save_for_backward(*inputs, segments, states, out, denominators)
        return out, states[:, :, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        shape: _Shape = ctx.shape
        *inputs, segments, states, out, denominators = ctx.saved_tensors
        by_inputs, by_initial_BHX = _backward(
            shape, tuple(inputs), segments, states, out, denominators, grads[0].contiguous(), grads[1]
        )
        return *by_inputs, None, by_initial_BHX, None, None


def _forward(
    shape: _Shape, inputs: tuple[Tensor, ...], segments: Tensor, initial_BHX: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The states in all slots, the output [B, T, H, V], and its denominators [B, T, H]."""
    q, k, q_rot, k_rot, v = inputs
    length, heads, chunks = shape.length, shape.heads, shape.chunks
    added = shape.slots(q)
    dtype = torch.promote_types(q_rot.dtype, v.dtype)
    out = v.new_empty(shape.batch, length, heads, shape.values, dtype=dtype)
    denominators = q.new_empty(shape.batch, length, heads, dtype=torch.float32)
    with on_device_of(q):
        added[:, :, 0] = initial_BHX
        kernels.added_kernel[shape.grid](
            k,
            k_rot,
            v,
            segments,
            added,
            length,
            heads,
            chunks,
            *(x.stride(0) for x in (k, k_rot, v)),
            **shape.blocks(),
        )
        states = shape.carry(added, segments, reverse=False)
        kernels.output_kernel[shape.grid](
            *inputs,
            segments,
            states,
            out,
            denominators,
            length,
            heads,
            chunks,
            eps,
            *(x.stride(0) for x in inputs),
            **shape.blocks(),
        )
    return states, out, denominators


def _backward(
    shape: _Shape,
    inputs: tuple[Tensor, ...],
    segments: Tensor,
    states: Tensor,
    out: Tensor,
    denominators: Tensor,
    grad_out: Tensor,
    grad_final_BHX: Tensor,
) -> tuple[list[Tensor], Tensor]:
    """Gradients by the five inputs, and by the initial state [B, H, X]."""
    q, _, q_rot, _, _ = inputs
    length, heads, chunks = shape.length, shape.heads, shape.chunks
    added = shape.slots(q)
    widths = (shape.keys,) * 4 + (shape.values,)
    by_inputs = [
        x.new_empty(shape.batch, length, heads, width) for x, width in zip(inputs, widths, strict=True)
    ]
    with on_device_of(q):
        added[:, :, -1] = grad_final_BHX
        kernels.grad_added_kernel[shape.grid](
            q,
            q_rot,
            out,
            grad_out,
            denominators,
            segments,
            added,
            length,
            heads,
            chunks,
            q.stride(0),
            q_rot.stride(0),
            **shape.blocks(),
        )
        grad_states = shape.carry(added, segments, reverse=True)
        kernels.grad_inputs_kernel[shape.grid](
            *inputs,
            segments,
            states,
            grad_states,
            out,
            grad_out,
            denominators,
            *by_inputs,
            length,
            heads,
            chunks,
            *(x.stride(0) for x in inputs),
            **shape.blocks(),
        )
    return by_inputs, grad_states[:, :, 0]
