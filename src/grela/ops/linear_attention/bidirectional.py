"""The paper's form: every position attends to the whole history. Linear in T, but it cannot stream."""

from torch import Tensor

from grela.ops.linear_attention.state import EPS

# B batch, T time, H heads, K key width, V value width


def bidirectional(
    q: Tensor, k: Tensor, q_rot: Tensor, k_rot: Tensor, v: Tensor, present: Tensor, *, eps: float = EPS
) -> Tensor:
    """sum_s (q~_t . k~_s) v_s / (q_t . sum_s k_s + eps) over the positions s that are `present`: [B, T, H, V].

    q, k, q_rot, k_rot [B, T, H, K]; v [B, T, H, V]; present [B, T] boolean, False at padding.
    """
    there_BT11 = present[:, :, None, None].to(k.dtype)
    S_BHKV = (k_rot * there_BT11).permute(0, 2, 3, 1) @ v.transpose(1, 2)
    z_BHK = (k * there_BT11).sum(1)
    numerator_BTHV = (q_rot.transpose(1, 2) @ S_BHKV).transpose(1, 2)
    denominator_BTH1 = (q * z_BHK.unsqueeze(1)).sum(-1, keepdim=True)
    return numerator_BTHV / (denominator_BTH1 + eps)
