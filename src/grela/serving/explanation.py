"""What of a user's recommendation comes from where: the branches behind the gates, and each item without one of them.

The last event is read three times from the state before it: as it is, with the long-term branch O set to zero in
every layer, and with the local branch L set to zero in every layer. What comes after a layer is computed again from
what is left, so the difference is what the branch does to the scores, not an approximation of it:

    log p(item | all) - log p(item | without O)      what the attention over the whole history adds at this event

The state before the last event stays as it was: a branch is taken from the reading of the last event alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grela.data.histories import HistoryBatch
from grela.errors import RequestError
from grela.models.analysis import BranchShare, branch_energies, shares_of
from grela.models.recgrela import RecGRELA, State
from grela.nn.attention import Branches, LayerState
from grela.ops.gaps import gap_buckets
from grela.ops.linear_attention import AttentionState
from grela.ops.losses.targets import SeenItems
from grela.ops.repeats import met_before
from grela.serving.state import Events
from grela.serving.stepper import Stepper

# R = 3 readings of the last event, D width, N items, M layers, K items explained

READINGS = 3
ALL, WITHOUT_LONG_TERM, WITHOUT_SHORT_TERM = range(READINGS)


@dataclass(frozen=True)
class Chance:
    """How likely an item is to come next in one reading: log p over the whole catalogue, and its place from 1."""

    log_probability: float
    place: int


@dataclass(frozen=True)
class ExplainedItem:
    """One item of a list, and what it owes to what.

    item: dense id
    chance, without_long_term, without_short_term: in the three readings
    item_bias: what its own bias adds to its logit, above the catalogue's mean; 0 where the model has none
    repeat_bias: what the history's having met it adds to its logit; 0 where it was not met, or does not count
    """

    item: int
    chance: Chance
    without_long_term: Chance
    without_short_term: Chance
    item_bias: float
    repeat_bias: float


@dataclass(frozen=True)
class Explanation:
    """The layers' branches at the last event (`attention` is the long-term one), and the items of the list."""

    layers: list[BranchShare]
    items: list[ExplainedItem]


@torch.inference_mode()
def explain(
    stepper: Stepper, history: Events, chosen: np.ndarray, *, allowed: np.ndarray | None = None
) -> Explanation:
    """Explain the items `chosen` (dense, best first) to whoever has this history of dense items and times.

    allowed: bool [N], what places are counted among; without it the whole catalogue.
    Cost: the history but for its last event once more in the parallel form, one step of three histories, their
    scores, and K comparisons of these. Raises RequestError for an empty history.
    """
    if not len(history.items):
        raise RequestError("there is nothing to explain before the first event; add an event and ask again")
    model, earlier = stepper.model, HistoryBatch.of([history.items[:-1]], [history.times[:-1]])
    before = stepper.layout.unpacked(stepper.rebuild(earlier), model.embedding.weight)
    gap = int(gap_buckets(history.times[-2:], np.zeros(1, np.int64))[-1])
    hidden_RD, energies_M3 = readings(model, before, int(history.items[-1]), gap)
    seen = _three_times(history.items)
    log_RN = model.scores(hidden_RD, seen).log_softmax(-1)
    ranked_RN = log_RN if allowed is None else log_RN.where(_tensor(allowed, log_RN), -torch.inf)
    at_K = torch.from_numpy(np.asarray(chosen, np.int64) - 1).to(log_RN.device)
    biases_2K = torch.stack((_item_biases(model), _repeat_biases(model, seen)))[:, at_K]
    items = [
        ExplainedItem(item, *_chances(log_R, ranked_RN), *biases)
        for item, log_R, biases in zip(chosen.tolist(), log_RN[:, at_K].T, biases_2K.T.tolist(), strict=True)
    ]
    return Explanation(shares_of(energies_M3, model.config.width), items)


def _chances(log_R: Tensor, ranked_RN: Tensor) -> list[Chance]:
    """One item's chance in each reading."""
    better_R = (ranked_RN > log_R.unsqueeze(1)).sum(1)
    return [Chance(log, 1 + better) for log, better in zip(log_R.tolist(), better_R.tolist(), strict=True)]


@torch.inference_mode()
def readings(model: RecGRELA, before: State, item: int, gap: int) -> tuple[Tensor, Tensor]:
    """The hidden states [3, D] after one event, by reading; and the layers' `branch_energies` [M, 3] as it is."""
    device = model.embedding.weight.device
    items, gaps = (torch.full((READINGS,), value, device=device) for value in (item, gap))
    events = before.events.expand(READINGS)
    keep_long, keep_short = torch.ones(2, READINGS, 1, dtype=model.embedding.weight.dtype, device=device)
    keep_long[WITHOUT_LONG_TERM] = 0
    keep_short[WITHOUT_SHORT_TERM] = 0
    x, turns, energies = model.embed(items, events, None, gaps), model.turns(events), []
    for block, state in zip(model.each_block(), before.layers, strict=True):
        (O, L, G), _ = block.attention.step_branches(block.attention_norm(x), turns, _expanded(state))
        energies.append(branch_energies(Branches(O[ALL], L[ALL], G[ALL])))
        x = block.finish(x, Branches(O * keep_long, L * keep_short, G))
    return x, torch.stack(energies)


def _expanded(state: LayerState) -> LayerState:
    """One history's state as that of three."""
    (S, z), tail = state
    attention = AttentionState(S.expand(READINGS, *S.shape[1:]), z.expand(READINGS, *z.shape[1:]))
    return LayerState(attention, tail.expand(READINGS, *tail.shape[1:]))


def _three_times(history: np.ndarray) -> SeenItems:
    """The whole history as what each reading has seen."""
    start = torch.zeros(READINGS, dtype=torch.int64)
    return SeenItems(torch.from_numpy(np.array(history, np.int32)), start, start + len(history))


def _item_biases(model: RecGRELA) -> Tensor:
    """[N], above their mean."""
    if model.item_bias is None:
        return torch.zeros_like(model.item_weights[:, 0])
    biases = model.item_bias.of_items
    return biases - biases.mean()


def _repeat_biases(model: RecGRELA, seen: SeenItems) -> Tensor:
    """[N], 0 for an item that was not met."""
    biases_1N = torch.zeros_like(model.item_weights[:, 0]).unsqueeze(0)
    if model.repeats is not None:
        model.repeats.raise_met(biases_1N, met_before(seen, 0, 1, model.config.num_items).to(biases_1N.device))
    return biases_1N[0]


def _tensor(allowed: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(allowed).to(like.device)
