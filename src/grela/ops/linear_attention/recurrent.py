"""The causal sum one position at a time: what a service does at each event."""

import torch
from torch import Tensor

from grela.ops.linear_attention.state import EPS, AttentionState

# B batch, T time, H heads, K key width, V value width


def step(
    q: Tensor,
    k: Tensor,
    q_rot: Tensor,
    k_rot: Tensor,
    v: Tensor,
    state: AttentionState,
    *,
    eps: float = EPS,
    log_decay: Tensor | None = None,
) -> tuple[Tensor, AttentionState]:
    """One event: q, k, q_rot, k_rot [B, H, K] and v [B, H, V] give out [B, H, V] and the state after it."""
    if log_decay is not None:
        decay_HK = log_decay.exp()
        state = AttentionState(state.S * decay_HK.unsqueeze(-1), state.z * decay_HK)
    S_BHKV = state.S + k_rot.unsqueeze(-1) * v.unsqueeze(-2)
    z_BHK = state.z + k
    numerator_BHV = (q_rot.unsqueeze(-2) @ S_BHKV).squeeze(-2)
    denominator_BH1 = (q * z_BHK).sum(-1, keepdim=True)
    return numerator_BHV / (denominator_BH1 + eps), AttentionState(S_BHKV, z_BHK)


def recurrent(
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
    """`naive` by T steps in constant memory per step; arguments and results as there."""
    outputs = []
    for t in range(q.shape[1]):
        if t > 0:
            kept_B = (segments[:, t] == segments[:, t - 1]).to(state.S.dtype)
            state = AttentionState(state.S * kept_B[:, None, None, None], state.z * kept_B[:, None, None])
        now = q[:, t], k[:, t], q_rot[:, t], k_rot[:, t], v[:, t]
        out, state = step(*now, state, eps=eps, log_decay=log_decay)
        outputs.append(out)
    return torch.stack(outputs, 1), state
