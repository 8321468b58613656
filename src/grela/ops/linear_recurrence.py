"""A diagonal linear recurrence of complex states: h_t = decay h_{t-1} + u_t, each channel by itself.

`naive` is the definition. `parallel` is equal to it and divides time, as LRURec does (Yue et al., WSDM 2024, arXiv
2310.02367), into pieces that are computed at once and then told what came before them. There the pieces double, which
goes over all states log2 T times; here they are chunks of one length, which goes over them twice.
"""

from typing import Any

import torch
from torch import Tensor

# S histories, T time, H channels, N chunks, C positions of a chunk


def naive(u: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Every h_t, [S, T, H], and the last: u [S, T, H], decay [H] and the state [S, H] before the first, all complex."""
    states = []
    for t in range(u.shape[1]):
        state = decay * state + u[:, t]
        states.append(state)
    return torch.stack(states, 1), state


def parallel(u: Tensor, decay: Tensor, state: Tensor, *, chunk: int = 16) -> tuple[Tensor, Tensor]:
    """`naive` in some chunk + T / chunk steps instead of T, for any T; |decay| is to be at most about 1."""
    h_STH, final_SH = _Recurrence.apply(u, decay, state, chunk)  # type: ignore[no-untyped-call]
    return h_STH, final_SH


class _Recurrence(torch.autograd.Function):
    """The gradient is the same recurrence back in time, with the conjugate of the decay."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, decay: Tensor, state: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
        h_STH = _in_chunks(u, decay, state, chunk)
        ctx.save_for_backward(h_STH, decay, state)
        ctx.chunk = chunk
        return h_STH, h_STH[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        by_h, by_final = grads
        h_STH, decay, state = ctx.saved_tensors
        back = decay.conj().resolve_conj()
        from_last = by_h.flip(1)
        from_last[:, 0] += by_final
        by_u = _in_chunks(from_last, back, torch.zeros_like(state), ctx.chunk).flip(1)
        by_decay = (by_u[:, 1:] * h_STH[:, :-1].conj()).sum((0, 1)) + (by_u[:, 0] * state.conj()).sum(0)
        return by_u, by_decay, by_u[:, 0] * back, None


def _in_chunks(u: Tensor, decay: Tensor, state: Tensor, chunk: int) -> Tensor:
    histories, length, width = u.shape
    chunk = min(chunk, length)
    spare = u.new_zeros(histories, -length % chunk, width)
    h_SNCH = torch.cat((u, spare), 1).unflatten(1, (-1, chunk))
    for place in range(1, chunk):
        h_SNCH[:, :, place].addcmul_(h_SNCH[:, :, place - 1], decay)

    powers_CH = decay.expand(chunk, -1).cumprod(0)
    chunks = h_SNCH.shape[1]
    entering_NSH = u.new_empty(chunks, histories, width)
    entering_NSH[0] = state
    for n in range(1, chunks):
        torch.addcmul(h_SNCH[:, n - 1, -1], entering_NSH[n - 1], powers_CH[-1], out=entering_NSH[n])
    h_SNCH.addcmul_(entering_NSH.transpose(0, 1).unsqueeze(2), powers_CH)
    h_STH: Tensor = h_SNCH.flatten(1, 2)[:, :length]
    return h_STH
