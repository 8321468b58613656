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
) -> tuple[Tensor, AttentionState]:
    """`naive` in time and memory linear in T; arguments and results as there, for any T and any `chunk`."""
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
    S_BNHKV, z_BND, final = _entering(added_S, added_z, keep_BN, state)

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
