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
    length = q.shape[1]
    spare = -length % chunk
    q, k, q_rot, k_rot, v = (_in_chunks(x, chunk, spare) for x in (q, k, q_rot, k_rot, v))
    segments_BNC = torch.cat((segments, segments[:, -1:].expand(-1, spare)), 1).unflatten(1, (-1, chunk))

    same_BNCC = (segments_BNC.unsqueeze(-1) == segments_BNC.unsqueeze(-2)).tril()
    mask_BN1CC = same_BNCC.unsqueeze(2).to(v.dtype)
    in_last_BN1C1 = (segments_BNC == segments_BNC[..., -1:])[:, :, None, :, None].to(v.dtype)
    before_BN = torch.cat((segments_BNC[:, :1, 0], segments_BNC[:, :-1, -1]), 1)
    receives_BN1C1 = (segments_BNC == before_BN.unsqueeze(-1))[:, :, None, :, None].to(v.dtype)
    keep_BN = (segments_BNC[..., -1] == before_BN).to(state.S.dtype)

    S_BNHKV, z_BNHK, final = _entering(
        (k_rot * in_last_BN1C1).mT @ v, (k * in_last_BN1C1).sum(-2), keep_BN, state
    )
    numerator = (q_rot @ k_rot.mT * mask_BN1CC) @ v + receives_BN1C1 * (q_rot @ S_BNHKV)
    normaliser = mask_BN1CC @ k + receives_BN1C1 * z_BNHK.unsqueeze(-2)
    denominator = (q * normaliser).sum(-1, keepdim=True)
    out_BNHCV = numerator / (denominator + eps)
    return out_BNHCV.transpose(2, 3).flatten(1, 2)[:, :length], final


def _in_chunks(x_BTHX: Tensor, chunk: int, spare: int) -> Tensor:
    """[B, T, H, X] to contiguous [B, N, H, C, X]; the spare positions at the end are zero and contribute nothing."""
    if spare:
        x_BTHX = pad(x_BTHX, (0, 0, 0, 0, 0, spare))
    return x_BTHX.unflatten(1, (-1, chunk)).transpose(2, 3).contiguous()


def _entering(
    added_S: Tensor, added_z: Tensor, keep_BN: Tensor, state: AttentionState
) -> tuple[Tensor, Tensor, AttentionState]:
    """The states that enter each chunk, and the one that leaves the last, from what each chunk adds."""
    width = added_S[0, 0].numel()
    added_BNX = torch.cat((added_S.flatten(2), added_z.flatten(2)), -1).to(state.S.dtype)
    initial_BX = torch.cat((state.S.flatten(1), state.z.flatten(1)), -1)
    entering_BNX, final_BX = _Carry.apply(added_BNX, keep_BN, initial_BX)
    final = AttentionState(final_BX[:, :width].view_as(state.S), final_BX[:, width:].view_as(state.z))
    return entering_BNX[..., :width].view_as(added_S), entering_BNX[..., width:].view_as(added_z), final


class _Carry(torch.autograd.Function):
    """x_{n+1} = keep_n x_n + added_n from x_0 = initial: every x_n that enters chunk n, and the last.

    A plain loop over chunks, forward and backward: a reset is an exact zero, so nothing of one history
    (not even an infinity) reaches the next, which differences of one running sum could not promise.
    """

    @staticmethod
    def forward(ctx: Any, added: Tensor, keep: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(keep)
        entering = torch.empty_like(added)
        current = initial
        for n in range(added.shape[1]):
            entering[:, n] = current
            current = torch.where(keep[:, n, None] > 0, current, 0) + added[:, n]
        return entering, current

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor]:
        grad_entering, grad_current = grads
        (keep,) = ctx.saved_tensors
        grad_added = torch.empty_like(grad_entering)
        for n in reversed(range(keep.shape[1])):
            grad_added[:, n] = grad_current
            grad_current = torch.addcmul(grad_entering[:, n], grad_current, keep[:, n, None])
        return grad_added, None, grad_current
