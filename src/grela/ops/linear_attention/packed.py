"""The paper's form over histories one after the other, without padding: `bidirectional` of each."""

from torch import Tensor

from grela.ops.linear_attention.state import EPS
from grela.ops.packing import HeadPlaces, Packing, from_chunks, head_places, repeated, sums, to_chunks

# B histories, P positions, N chunks, C places of a chunk, H heads, K key width, V value width


def packed_bidirectional(
    q: Tensor, k: Tensor, q_rot: Tensor, k_rot: Tensor, v: Tensor, packing: Packing, *, eps: float = EPS
) -> Tensor:
    """sum_s (q~_t . k~_s) v_s / (q_t . sum_s k_s + eps) over the positions s of t's history: [P, H, V].

    q, k, q_rot, k_rot [P, H, K]; v [P, H, V].
    """
    places = head_places(packing, q.shape[1])
    S_BHKV, z_BHK = _state(k, k_rot, v, packing, places)
    S_NHKV = repeated(S_BHKV.flatten(1), packing.chunks, packing.owner).unflatten(1, S_BHKV.shape[1:])
    numerator_PHV = from_chunks(to_chunks(q_rot, places) @ S_NHKV, places)
    z_PHK = repeated(z_BHK.flatten(1), packing.lengths, packing.segments).view_as(q)
    return numerator_PHV / ((q * z_PHK).sum(-1, keepdim=True) + eps)


def packed_bidirectional_last(
    q: Tensor, k: Tensor, q_rot: Tensor, k_rot: Tensor, v: Tensor, packing: Packing, *, eps: float = EPS
) -> Tensor:
    """`packed_bidirectional` at one position of each history: q, q_rot [B, H, K], the rest [P, ...]; [B, H, V]."""
    S_BHKV, z_BHK = _state(k, k_rot, v, packing, head_places(packing, k.shape[1]))
    numerator_BHV = (q_rot.unsqueeze(-2) @ S_BHKV).squeeze(-2)
    return numerator_BHV / ((q * z_BHK).sum(-1, keepdim=True) + eps)


def _state(
    k: Tensor, k_rot: Tensor, v: Tensor, packing: Packing, places: HeadPlaces
) -> tuple[Tensor, Tensor]:
    """Of each history S = sum_s k~_s v_s^T [B, H, K, V] and z = sum_s k_s [B, H, K]."""
    S_NHKV = to_chunks(k_rot, places).mT @ to_chunks(v, places)
    S_BHKV = sums(S_NHKV.flatten(1), packing.chunks, packing.owner).unflatten(1, S_NHKV.shape[1:])
    z_BHK = sums(k.flatten(1), packing.lengths, packing.segments).unflatten(1, k.shape[1:])
    return S_BHKV, z_BHK
