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
    log_decay: Tensor | None = None,
) -> tuple[Tensor, AttentionState]:
    """Causal linear attention, quadratic in T: out [B, T, H, V] and the state after the last position.

    q, k, q_rot, k_rot [B, T, H, K]; v [B, T, H, V]; segments [B, T], non-decreasing along T and equal within a
    history; `state` is what came before the first position, for the first position's segment only. The state
    returned is that of the last position's segment.

    With `log_decay` [H, K], at most 0, the state is multiplied by its exponential at each position, before what the
    position adds: key channel i of s reaches t by exp((t - s) log_decay_i).
    """
    if log_decay is not None:
        return _decayed(q, k, q_rot, k_rot, v, segments, state, log_decay, eps)
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


def _decayed(
    q: Tensor,
    k: Tensor,
    q_rot: Tensor,
    k_rot: Tensor,
    v: Tensor,
    segments: Tensor,
    state: AttentionState,
    log_decay: Tensor,
    eps: float,
) -> tuple[Tensor, AttentionState]:
    order = torch.arange(q.shape[1], device=q.device)
    back_TT = order[:, None] - order
    mask_BTT = ((back_TT >= 0) & (segments[:, :, None] == segments[:, None, :])).to(v.dtype)
    weight_TTHK = (back_TT.clamp(min=0)[..., None, None] * log_decay).exp()
    entering_THK = ((order + 1)[:, None, None] * log_decay).exp()
    goes_on_BT = (segments == segments[:, :1]).to(v.dtype)

    scores_BHTT = torch.einsum("bthk,bshk,tshk,bts->bhts", q_rot, k_rot, weight_TTHK, mask_BTT)
    numerator_BTHV = torch.einsum("bhts,bshv->bthv", scores_BHTT, v)
    numerator_BTHV += torch.einsum("bthk,thk,bhkv,bt->bthv", q_rot, entering_THK, state.S, goes_on_BT)
    denominator_BTH = torch.einsum("bthk,bshk,tshk,bts->bth", q, k, weight_TTHK, mask_BTT)
    denominator_BTH += torch.einsum("bthk,thk,bhk,bt->bth", q, entering_THK, state.z, goes_on_BT)

    leaving_THK, in_last_BT, kept_B = weight_TTHK[-1], mask_BTT[:, -1], goes_on_BT[:, -1]
    final = AttentionState(
        torch.einsum("bshk,shk,bs,bshv->bhkv", k_rot, leaving_THK, in_last_BT, v)
        + torch.einsum("b,hk,bhkv->bhkv", kept_B, entering_THK[-1], state.S),
        torch.einsum("bshk,shk,bs->bhk", k, leaving_THK, in_last_BT)
        + torch.einsum("b,hk,bhk->bhk", kept_B, entering_THK[-1], state.z),
    )
    return numerator_BTHV / (denominator_BTH + eps).unsqueeze(-1), final
