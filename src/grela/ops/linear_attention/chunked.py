"""The causal sum in chunks: quadratic within a chunk, a state carried from chunk to chunk. Linear in T."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from grela.ops.linear_attention.state import EPS, AttentionState

# B batch, T time, N chunks, C positions of a chunk, H heads, K key width, V value width, X flattened state


def chunked(
    q: Tensor,
    k: Tensor,
    q_rot: Tensor,
    k_rot: Tensor,
    v: Tensor,
    segments: Tensor,
    state: AttentionState,
    *,
    eps: float = EPS,
    chunk: int = 32,
    log_decay: Tensor | None = None,
) -> tuple[Tensor, AttentionState]:
    """`naive` in time and memory linear in T; arguments and results as there, for any T and any `chunk`.

    Within a chunk queries grow and keys shrink by their place in it, so `log_decay` times `chunk` must stay far from
    what a float32 exponent holds, 88: with 32 positions a decay of at most 1 a position does.
    """
    if log_decay is not None:
        q, k, q_rot, k_rot = _weighted((q, q_rot), (k, k_rot), log_decay, chunk)
    length, heads = q.shape[1], q.shape[2]
    spare = -length % chunk
    q_BNCD, k_BNCD = (_in_chunks(x.flatten(2), chunk, spare) for x in (q, k))
    qr_BNHCK, kr_BNHCK, v_BNHCV = (
        _in_chunks(x.flatten(2), chunk, spare).unflatten(-1, (heads, -1)).transpose(2, 3).contiguous()
        for x in (q_rot, k_rot, v)
    )
    segments_BNC = torch.cat((segments, segments[:, -1:].expand(-1, spare)), 1).unflatten(1, (-1, chunk))
    mask_BNCC = (segments_BNC.unsqueeze(-1) == segments_BNC.unsqueeze(-2)).tril().to(v.dtype)
    in_last_BNC = (segments_BNC == segments_BNC[..., -1:]).to(v.dtype)
    before_BN = torch.cat((segments_BNC[:, :1, 0], segments_BNC[:, :-1, -1]), 1)
    receives_BNC = (segments_BNC == before_BN.unsqueeze(-1)).to(v.dtype)
    keep_BN = (segments_BNC[..., -1] == before_BN).to(state.S.dtype)

    added_S = (kr_BNHCK * in_last_BNC[:, :, None, :, None]).mT @ v_BNHCV
    added_z = (in_last_BNC.unsqueeze(-2) @ k_BNCD).squeeze(-2)
    if log_decay is None:
        S_BNHKV, z_BND, final = _entering(added_S, added_z, keep_BN, state)
    else:
        decay_NHK = _over_chunks(log_decay, length, chunk)
        S_BNHKV, z_BND, final = _entering_decayed(added_S, added_z, keep_BN, decay_NHK, state)

    within = (qr_BNHCK @ kr_BNHCK.mT * mask_BNCC.unsqueeze(2)) @ v_BNHCV
    numerator_BNHCV = within + receives_BNC[:, :, None, :, None] * (qr_BNHCK @ S_BNHKV)
    normaliser_BNCD = mask_BNCC @ k_BNCD + receives_BNC.unsqueeze(-1) * z_BND.unsqueeze(-2)
    denominator_BNCH = (q_BNCD * normaliser_BNCD).unflatten(-1, (heads, -1)).sum(-1)
    out_BNCHV = numerator_BNHCV.transpose(2, 3) / (denominator_BNCH + eps).unsqueeze(-1)
    return out_BNCHV.flatten(1, 2)[:, :length], final


def _in_chunks(x_BTD: Tensor, chunk: int, spare: int) -> Tensor:
    """[B, T, D] to [B, N, C, D]; the spare positions at the end are zero and contribute nothing."""
    if spare:
        x_BTD = pad(x_BTD, (0, 0, 0, spare))
    chunks: Tensor = x_BTD.unflatten(1, (-1, chunk))
    return chunks


def _entering(
    added_S: Tensor, added_z: Tensor, keep_BN: Tensor, state: AttentionState
) -> tuple[Tensor, Tensor, AttentionState]:
    """The states that enter each chunk, and the one that leaves the last, from what each chunk adds."""
    added_BNX = torch.cat((added_S.flatten(2), added_z), -1).to(state.S.dtype)
    initial_BX = torch.cat((state.S.flatten(1), state.z.flatten(1)), -1)
    entering_BNX, final_BX = _Carry.apply(added_BNX, keep_BN, initial_BX)  # type: ignore[no-untyped-call]
    width = state.S[0].numel()
    final = AttentionState(final_BX[:, :width].view_as(state.S), final_BX[:, width:].view_as(state.z))
    return entering_BNX[..., :width].view_as(added_S), entering_BNX[..., width:], final


def _weighted(
    queries: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor], log_decay: Tensor, chunk: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, q_rot, k_rot such that products of q at t and k at s of one chunk decay by t - s."""
    (q, q_rot), (k, k_rot) = queries, keys
    place_T = torch.arange(q.shape[1], device=q.device) % chunk + 1
    log_THK = place_T[:, None, None] * log_decay
    up, down = log_THK.exp(), (-log_THK).exp()
    return q * up, k * down, q_rot * up, k_rot * down


def _over_chunks(log_decay: Tensor, length: int, chunk: int) -> Tensor:
    """What is left after each chunk, [N, H, K]; the last may be shorter."""
    starts_N = torch.arange(0, length, chunk, device=log_decay.device)
    places_N = (length - starts_N).clamp(max=chunk)
    return (places_N[:, None, None] * log_decay).exp()


def _entering_decayed(
    added_S: Tensor, added_z: Tensor, keep_BN: Tensor, decay_NHK: Tensor, state: AttentionState
) -> tuple[Tensor, Tensor, AttentionState]:
    """`_entering` where a chunk leaves decay (keep state + added)."""
    S_NX = decay_NHK.unsqueeze(-1).expand(-1, -1, -1, added_S.shape[-1]).flatten(1)
    decay_NX = torch.cat((S_NX, decay_NHK.flatten(1)), -1)
    added_BNX = torch.cat((added_S.flatten(2), added_z), -1).to(state.S.dtype) * decay_NX
    initial_BX = torch.cat((state.S.flatten(1), state.z.flatten(1)), -1)
    entering_BNX, final_BX = _DecayedCarry.apply(  # type: ignore[no-untyped-call]
        added_BNX, keep_BN, decay_NX, initial_BX
    )
    width = state.S[0].numel()
    final = AttentionState(final_BX[:, :width].view_as(state.S), final_BX[:, width:].view_as(state.z))
    return entering_BNX[..., :width].view_as(added_S), entering_BNX[..., width:], final


class _DecayedCarry(torch.autograd.Function):
    """`_Carry` with x_{n+1} = keep_n decay_n x_n + added_n; decay [N, X]."""

    @staticmethod
    def forward(
        ctx: Any, added: Tensor, keep: Tensor, decay: Tensor, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, chunks, width = added.shape
        states = added.new_empty(chunks + 1, batch, width)
        states[0] = initial
        factors = keep.T.unsqueeze(-1) * decay.unsqueeze(1)
        for n in range(chunks):
            torch.addcmul(added[:, n], states[n], factors[n], out=states[n + 1])
        ctx.save_for_backward(keep, factors, states)
        return states[:-1].transpose(0, 1), states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        grad_entering, grad_final = grads
        keep, factors, states = ctx.saved_tensors
        batch, chunks, width = grad_entering.shape
        grad_states = grad_entering.new_empty(chunks + 1, batch, width)
        grad_states[-1] = grad_final
        for n in reversed(range(chunks)):
            torch.addcmul(grad_entering[:, n], grad_states[n + 1], factors[n], out=grad_states[n])
        by_decay = (grad_states[1:] * states[:-1] * keep.T.unsqueeze(-1)).sum(1)
        return grad_states[1:].transpose(0, 1), None, by_decay, grad_states[0]


class _Carry(torch.autograd.Function):
    """x_{n+1} = keep_n x_n + added_n from x_0 = initial: every x_n that enters chunk n, and the last.

    A plain loop over chunks, forward and backward: a reset is an exact zero, so nothing of one history
    reaches the next, which differences of one running sum could not promise.
    """

    @staticmethod
    def forward(ctx: Any, added: Tensor, keep: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(keep)
        batch, chunks, width = added.shape
        states = added.new_empty(chunks + 1, batch, width)
        states[0] = initial
        keeps = keep.T.unsqueeze(-1)
        for n in range(chunks):
            torch.addcmul(added[:, n], states[n], keeps[n], out=states[n + 1])
        return states[:-1].transpose(0, 1), states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor]:
        grad_entering, grad_final = grads
        (keep,) = ctx.saved_tensors
        batch, chunks, width = grad_entering.shape
        grad_states = grad_entering.new_empty(chunks + 1, batch, width)
        grad_states[-1] = grad_final
        keeps = keep.T.unsqueeze(-1)
        for n in reversed(range(chunks)):
            torch.addcmul(grad_entering[:, n], grad_states[n + 1], keeps[n], out=grad_states[n])
        return grad_states[1:].transpose(0, 1), None, grad_states[0]
