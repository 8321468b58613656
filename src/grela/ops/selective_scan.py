"""Mamba's selective scan (Gu and Dao, arXiv 2312.00752, section 3): a state whose decay and input each event decides.

    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t          for each channel e and each place n of its state
    y_t = sum over n of C_t h_t

`naive` is the definition. `chunked` is equal to it in values, final state and gradients, in a fraction of the time and
memory; `step` is one event. `by_mamba_ssm` is the CUDA kernel of the package mamba-ssm, the authors' own.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# S histories, T time, E channels, N places of a channel's state, C positions of a chunk

# e^-40 is nothing beside what is added, and no decay is then too small for a normal float32: products with numbers
# that are take a hundred times as long.
LEAST_LOG_DECAY = -40.0

# What computes y [S, T, E] from x, dt, A, B and C as in `naive`, beginning with an empty state.
Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def naive(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """y [S, T, E] and the state [S, E, N] after the last event, one event after the other.

    x and dt [S, T, E], dt positive; A [E, N], negative; B and C [S, T, N]; `state` [S, E, N] is what came before.
    """
    outputs = []
    for t in range(x.shape[1]):
        y_SE, state = step(x[:, t], dt[:, t], A, B[:, t], C[:, t], state)
        outputs.append(y_SE)
    return torch.stack(outputs, 1), state


def step(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One event: x and dt [S, E], B and C [S, N] give y [S, E] and the state after it."""
    decay_SEN = (dt.unsqueeze(-1) * A).exp()
    state = decay_SEN * state + (dt * x).unsqueeze(-1) * B.unsqueeze(1)
    return (state * C.unsqueeze(1)).sum(-1), state


def chunked(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, *, chunk: int = 8
) -> tuple[Tensor, Tensor]:
    """`naive` for any T with the states of one chunk of positions at a time; arguments and results as there.

    Each chunk's decays and inputs are formed at once and its states by one multiplication and addition a position:
    nothing is divided by a product of decays, which vanishes. Only the states that enter chunks are kept for the
    gradient, which forms the others anew.
    """
    first = (part.transpose(0, 1).contiguous() for part in (x, dt, B, C))
    x_TSE, dt_TSE, B_TSN, C_TSN = first
    y_TSE, final_SNE = _Chunked.apply(x_TSE, dt_TSE, A.T.contiguous(), B_TSN, C_TSN, state.mT, chunk)  # type: ignore[no-untyped-call]
    return y_TSE.transpose(0, 1), final_SNE.mT


def from_empty(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """y of `chunked` that begins with an empty state."""
    y, _ = chunked(x, dt, A, B, C, x.new_zeros(x.shape[0], *A.shape))
    return y


def by_mamba_ssm(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """`from_empty` by the kernel of mamba-ssm: all on CUDA and float32."""
    # The package is optional and takes seconds to import.
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    y_SET: Tensor = selective_scan_fn(x.mT, dt.mT, A, B.mT, C.mT)
    return y_SET.mT


def scan_for(device: torch.device) -> Scan:
    """`by_mamba_ssm` on CUDA where that package is installed, else `from_empty`."""
    if device.type == "cuda" and importlib.util.find_spec("mamba_ssm") is not None:
        return by_mamba_ssm
    return from_empty


class _Chunked(torch.autograd.Function):
    """Time first and channels last, A [N, E] and states [S, N, E]: products then run along contiguous channels."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, chunk: int
    ) -> tuple[Tensor, Tensor]:
        parts = [slice(low, min(low + chunk, len(x))) for low in range(0, len(x), chunk)]
        entering = state.new_empty(len(parts) + 1, *state.shape)
        entering[0] = state
        scratch, added, y = _Scratch(parts[0].stop, state), dt * x, torch.empty_like(x)
        for n, part in enumerate(parts):
            states = scratch.states(dt[part], added[part], A, B[part], entering[n])
            torch.matmul(C[part].unsqueeze(2), states[1:], out=y[part].unsqueeze(2))
            entering[n + 1] = states[-1]
        ctx.save_for_backward(x, dt, A, B, C, entering[:-1])
        ctx.parts = parts
        return y, entering[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, None]:
        by_y, by_state = grads[0].contiguous(), grads[1].clone(memory_format=torch.contiguous_format)
        x, dt, A, B, C, entering = ctx.saved_tensors
        added = dt * x
        by_added, by_dt, by_B, by_C = (torch.empty_like(part) for part in (added, dt, B, C))
        by_A_SNE = torch.zeros_like(by_state)
        scratch = _Scratch(ctx.parts[0].stop, by_state)
        by_states = by_state.new_empty(ctx.parts[0].stop, *by_state.shape)
        for n, part in reversed(list(enumerate(ctx.parts))):
            states = scratch.states(dt[part], added[part], A, B[part], entering[n])
            decays = scratch.decays[: len(states) - 1]
            by_h = torch.mul(C[part].unsqueeze(3), by_y[part].unsqueeze(2), out=by_states[: len(decays)])
            _carry_back(by_h, decays, by_state)
            torch.matmul(by_y[part].unsqueeze(2), states[1:].mT, out=by_C[part].unsqueeze(2))
            torch.matmul(added[part].unsqueeze(2), by_h.mT, out=by_B[part].unsqueeze(2))
            torch.matmul(B[part].unsqueeze(2), by_h, out=by_added[part].unsqueeze(2))
            # From here on the gradient by what each position decayed, then by the logarithm of its decay.
            by_state.copy_(by_h.mul_(decays)[0])
            by_h.mul_(states[:-1])
            for by_log_SNE, dt_SE in zip(by_h, dt[part], strict=True):
                by_A_SNE.addcmul_(by_log_SNE, dt_SE.unsqueeze(1))
            torch.sum(by_h.mul_(A), 2, out=by_dt[part])
        by_dt.addcmul_(by_added, x)
        return by_added.mul_(dt), by_dt, by_A_SNE.sum(0), by_B, by_C, by_state, None


def _carry_back(by_h: Tensor, decays: Tensor, after: Tensor) -> None:
    """Add to each position's gradient [C, S, N, E] what the next hands back, and to the last's `after` [S, N, E]."""
    positions, steps = by_h.unbind(), decays.unbind()
    positions[-1].add_(after)
    for t in range(len(positions) - 2, -1, -1):
        positions[t].addcmul_(steps[t + 1], positions[t + 1])


class _Scratch:
    """Room for the decays [C, S, N, E] and the states [C + 1, S, N, E] of a chunk, used by one after the other."""

    def __init__(self, chunk: int, like: Tensor) -> None:
        self.decays = like.new_empty(chunk, *like.shape)
        self._states = like.new_empty(chunk + 1, *like.shape)

    def states(self, dt: Tensor, added: Tensor, A: Tensor, B: Tensor, before: Tensor) -> Tensor:
        """`before` and the states after each of up to C positions; their decays are left in `decays`."""
        decays, states = self.decays[: len(dt)], self._states[: len(dt) + 1]
        torch.mul(dt.unsqueeze(2), A, out=decays).clamp_(min=LEAST_LOG_DECAY).exp_()
        states[0] = before
        torch.mul(added.unsqueeze(2), B.unsqueeze(3), out=states[1:])
        positions = states.unbind()
        for t, decay_SNE in enumerate(decays.unbind()):
            positions[t + 1].addcmul_(decay_SNE, positions[t])
        return states
