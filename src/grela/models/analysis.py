"""What happens inside the layers on real histories: the branches behind the gate, and the rank of the mixing.

A head mixes positions by A [T, T] with O = A V: the attention's weights. Beside it the short convolution mixes
the positions of one channel by a banded Toeplitz matrix C. Their sum A + C is what reaches the gate, but for
the convolution's bias and SiLU and for the gate itself, which are no linear maps of V and are left out here.

Without a causal mask A is a product of a [T, d] and a [d, T] matrix with scaled rows: its rank is at most the
head's width d. The causal mask keeps the lower triangle only, and that bound no longer holds: on the diagonal
the turns of query and key cancel (d even), so it is positive and A has full rank T. How much of that rank
carries weight is what the effective rank tells.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grela.errors import RequestError
from grela.models.recgrela import RecGRELA
from grela.nn.attention import Branches, GatedLinearAttention, LayerState
from grela.nn.block import Block
from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import bidirectional, chunked, empty_state
from grela.ops.rotary import rotate

# T time, D width, H heads, K = D/H width of a head, W taps, C channels

POSITIONS = 200
CHANNELS = 4

METHOD = (
    f"on the last {POSITIONS} events of each history at most, in float64; branch energy: sums of squares behind "
    "the gate; effective rank: exp of the entropy of the normalised singular values, mean over histories; with "
    f"the local branch: attention plus the convolution of a channel, mean over at most {CHANNELS} evenly spaced "
    "channels of a head; the SiLU after the convolution and the gate are non-linear and left out"
)
"""How the numbers here came about, for the page that shows them."""


@dataclass(frozen=True)
class BranchShare:
    """Shares of the branches in the energy behind one layer's gate (layers from 1); NaN where no energy is.

    local, attention: sums of squares of L * G and O * G over positions and channels, scaled to sum to 1
    gate_open: mean of |G|
    """

    layer: int
    local: float
    attention: float
    gate_open: float


@dataclass(frozen=True)
class MixingRank:
    """Mean effective rank, over histories, of how one head mixes positions (layer and head from 1).

    without_local: of the attention's matrix A alone
    with_local: of A + C, mean over channels of the head; equal to `without_local` where there is no local branch
    positions: T of the longest history, the bound of every rank; head_width: d
    """

    layer: int
    head: int
    without_local: float
    with_local: float
    positions: int
    head_width: int


class LayerView(NamedTuple):
    """One layer on one history, in float64 on the CPU: its normalised input x [1, T, D] and its branches."""

    attention: GatedLinearAttention
    x: Tensor
    turns: Tensor
    branches: Branches


def branch_shares(
    model: RecGRELA, histories: Sequence[np.ndarray], gaps: Sequence[np.ndarray] | None = None
) -> list[BranchShare]:
    """What each branch contributes behind the gate, by layer, over the last `POSITIONS` events of all histories.

    histories: dense items, oldest first; gaps: their buckets (`grela.ops.gaps`), unknown where they are not given.
    Raises RequestError when there are none, or an empty one.
    """
    energies = torch.zeros(model.config.layers, 3, dtype=torch.float64)
    gates = 0
    for items, gap in _recent(histories, gaps):
        for layer, view in enumerate(layer_views(model, items, gap)):
            energies[layer] += branch_energies(view.branches)
        gates += len(items) * model.config.width
    return shares_of(energies, gates)


def branch_energies(branches: Branches) -> Tensor:
    """Sums of squares of L * G and of O * G, and the sum of |G|, over all positions and channels: [3]."""
    attention, local, gate = branches
    return torch.stack(((local * gate).square().sum(), (attention * gate).square().sum(), gate.abs().sum()))


def shares_of(energies: Tensor, gates: int) -> list[BranchShare]:
    """Each layer's shares from its `branch_energies` [M, 3], over so many gates (positions times channels)."""
    shares = energies[:, :2] / energies[:, :2].sum(1, keepdim=True)
    opened = energies[:, 2] / gates
    return [
        BranchShare(layer, local, attention, gate_open)
        for layer, ((local, attention), gate_open) in enumerate(
            zip(shares.tolist(), opened.tolist(), strict=True), start=1
        )
    ]


def mixing_ranks(
    model: RecGRELA,
    histories: Sequence[np.ndarray],
    gaps: Sequence[np.ndarray] | None = None,
    *,
    channels: int = CHANNELS,
) -> list[MixingRank]:
    """The effective rank of every head's mixing on the last `POSITIONS` events, without and with the local branch.

    channels: how many channels of a head are taken, evenly spaced; the head's width takes them all.
    Cost: (1 + channels) singular value decompositions [T, T] for each head and history.
    Raises RequestError when there are no histories, or an empty one.
    """
    recent = _recent(histories, gaps)
    heads = model.config.heads
    sums = torch.zeros(model.config.layers, heads, 2, dtype=torch.float64)
    for items, gap in recent:
        for layer, view in enumerate(layer_views(model, items, gap)):
            mixing_HTT = mixing_matrices(view, causal=model.config.form == "causal")
            without_H = effective_rank(mixing_HTT)
            local_HCTT = local_matrices(view.attention, len(items), channels)
            with_H = without_H
            if local_HCTT is not None:
                with_H = effective_rank(mixing_HTT.unsqueeze(1) + local_HCTT).mean(1)
            sums[layer] += torch.stack((without_H, with_H), 1)
    longest, width = max(len(items) for items, _ in recent), model.config.width // heads
    means = (sums / len(recent)).tolist()
    return [
        MixingRank(layer, head, without_local, with_local, longest, width)
        for layer, by_head in enumerate(means, start=1)
        for head, (without_local, with_local) in enumerate(by_head, start=1)
    ]


def effective_rank(matrices: Tensor) -> Tensor:
    """exp of the entropy of the singular values scaled to sum to 1: [..., T, T] gives [...]; NaN for a zero matrix.

    Between 1 and the rank. Roy and Vetterli, "The effective rank", EUSIPCO 2007.
    """
    values = torch.linalg.svdvals(matrices)
    shares = values / values.sum(-1, keepdim=True)
    ranks: Tensor = torch.special.entr(shares).sum(-1).exp()
    return ranks


@torch.no_grad()
def layer_views(model: RecGRELA, items: np.ndarray, gaps: np.ndarray | None = None) -> Iterator[LayerView]:
    """Each layer of the model on one history of dense items, first to last, as in evaluation."""
    item_ids = torch.from_numpy(items.astype(np.int64)).unsqueeze(0)
    positions = torch.arange(len(items)).unsqueeze(0)
    device = model.embedding.weight.device
    buckets = None if gaps is None else torch.from_numpy(gaps.astype(np.int64)).unsqueeze(0).to(device)
    x = model.embed(item_ids.to(device), positions.to(device), None, buckets).double().cpu()
    turns = model.turns(positions, torch.complex128)
    for original in model.each_block():
        block = copy.deepcopy(original).double().cpu()
        normed = block.attention_norm(x)
        branches = _branches(block, normed, turns, causal=model.config.form == "causal")
        yield LayerView(block.attention, normed, turns, branches)
        x = block.finish(x, branches)


@torch.no_grad()
def mixing_matrices(view: LayerView, *, causal: bool) -> Tensor:
    """A [H, T, T] of each head, by letting the attention carry the identity in place of its values."""
    attention, width = view.attention, view.x.shape[-1]
    query, key = positive_features(attention.query_key(attention.value(view.x))).chunk(2, -1)
    turned = (rotate(query, view.turns), rotate(key, view.turns)) if attention.rotation else (query, key)
    split = (-1, (attention.heads, -1))
    q, k, q_rot, k_rot = (part.unflatten(*split) for part in (query, key, *turned))
    length = view.x.shape[1]
    identity_BTHT = torch.eye(length, dtype=view.x.dtype)[None, :, None].expand(-1, -1, attention.heads, -1)
    whole_history = torch.zeros(1, length, dtype=torch.int64)
    if causal:
        state = empty_state(1, attention.heads, width // attention.heads, length, like=view.x)
        log_decay = attention.log_decay()
        mixed, _ = chunked(
            q, k, q_rot, k_rot, identity_BTHT, whole_history, state, eps=attention.eps, log_decay=log_decay
        )
    else:
        mixed = bidirectional(q, k, q_rot, k_rot, identity_BTHT, whole_history == 0, eps=attention.eps)
    return mixed[0].transpose(0, 1)


@torch.no_grad()
def local_matrices(attention: GatedLinearAttention, length: int, channels: int) -> Tensor | None:
    """The convolution's Toeplitz matrices [H, C, T, T] of `channels` evenly spaced channels of each head, or all.

    None where the layer has no local branch.
    """
    if attention.conv is None:
        return None
    weight_HKW = attention.conv.weight.squeeze(1).unflatten(0, (attention.heads, -1))
    per_head, taps = weight_HKW.shape[1:]
    chosen = torch.linspace(0, per_head - 1, min(channels, per_head)).round().long()
    weight_HCW = weight_HKW[:, chosen]
    order = torch.arange(length)
    back_TT = order[:, None] - order
    inside_TT = (back_TT >= 0) & (back_TT < taps)
    matrices: Tensor = weight_HCW[..., (taps - 1 - back_TT).clamp(0, taps - 1)] * inside_TT
    return matrices


def _branches(block: Block, x: Tensor, turns: Tensor, *, causal: bool) -> Branches:
    attention, length, width = block.attention, x.shape[1], x.shape[-1]
    if not causal:
        return attention.whole(x, turns, torch.ones(1, length, dtype=torch.bool))
    per_head = width // attention.heads
    state = LayerState(empty_state(1, attention.heads, per_head, per_head, like=x), attention.empty_tail(x))
    branches, _ = attention.branches(x, turns, torch.zeros(1, length, dtype=torch.int64), state)
    return branches


def _recent(
    histories: Sequence[np.ndarray], gaps: Sequence[np.ndarray] | None
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """The last `POSITIONS` items and gaps of each history."""
    if not histories or not all(len(items) for items in histories):
        raise RequestError(
            f"got {len(histories)} histories with {[len(h) for h in histories]} events; "
            "the layers can be measured on one or more histories of at least one event each"
        )
    if gaps is None:
        return [(items[-POSITIONS:], None) for items in histories]
    return [(items[-POSITIONS:], gap[-POSITIONS:]) for items, gap in zip(histories, gaps, strict=True)]
