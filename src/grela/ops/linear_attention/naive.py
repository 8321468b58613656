"""The definition: a T x T matrix of products, masked to the past of the same history."""

import torch
from torch import Tensor

from grela.ops.linear_attention.state import EPS, AttentionState

# B batch, T time, H heads, K key width, V value width


def naive(
    q: Tensor,
    k: Tensor,
    q_rot: Tensor,
    k_rot: Tensor,
    v: Tensor,
    segments: Tensor,
    state: AttentionState,
    *,
    eps: float = EPS,
) -> tuple[Tensor, AttentionState]:
    """Causal linear attention, quadratic in T: out [B, T, H, V] and the state after the last position.

    q, k, q_rot, k_rot [B, T, H, K]; v [B, T, H, V]; segments [B, T], non-decreasing along T and equal within a
    history; `state` is what came before the first position, for the first position's segment only. The state
    returned is that of the last position's segment.
    """
    length = q.shape[1]
    order = torch.arange(length, device=q.device)
    mask_BTT = (order[:, None] >= order) & (segments[:, :, None] == segments[:, None, :])
    mask_B1TT = mask_BTT.unsqueeze(1).to(v.dtype)
    qh, kh, qrh, krh, vh = (x.transpose(1, 2) for x in (q, k, q_rot, k_rot, v))

    numerator_BHTV = (qrh @ krh.mT * mask_B1TT) @ vh
    denominator_BHT = (qh @ kh.mT * mask_B1TT).sum(-1)
    goes_on_B1T = (segments == segments[:, :1]).unsqueeze(1).to(v.dtype)
    numerator_BHTV = numerator_BHTV + goes_on_B1T.unsqueeze(-1) * (qrh @ state.S)
    denominator_BHT = denominator_BHT + goes_on_B1T * (qh @ state.z.unsqueeze(-1)).squeeze(-1)

    last_B1T1 = (segments == segments[:, -1:])[:, None, :, None].to(v.dtype)
    kept_B = (segments[:, 0] == segments[:, -1]).to(v.dtype)
    final = AttentionState(
        (krh * last_B1T1).mT @ vh + kept_B[:, None, None, None] * state.S,
        (kh * last_B1T1).sum(2) + kept_B[:, None, None] * state.z,
    )
    return (numerator_BHTV / (denominator_BHT + eps).unsqueeze(-1)).transpose(1, 2), final
