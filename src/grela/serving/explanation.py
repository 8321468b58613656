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

from grela.models.analysis import BranchShare, branch_energies, shares_of
from grela.models.recgrela import RecGRELA, State
from grela.nn.attention import Branches, LayerState
from grela.ops.linear_attention import AttentionState
from grela.ops.repeats import Met
from grela.serving.ranking import Candidates
from grela.serving.state import Events, UserState, incoming
from grela.serving.stepper import Stepper, met_of

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

    item, score: dense id, and the score that it is in the list for
    chance, without_long_term, without_short_term: in the three readings
    item_bias: what its own bias adds to its logit, above the catalogue's mean; 0 where the model has none
    repeat_bias: what the history's having met it adds to its logit; 0 where it was not met, or does not count
    """

    item: int
    score: float
    chance: Chance
    without_long_term: Chance
    without_short_term: Chance
    item_bias: float
    repeat_bias: float


@dataclass(frozen=True)
class Explanation:
    """The layers' branches at the last event (`attention` is the long-term one), and the list, best first."""

    layers: list[BranchShare]
    items: list[ExplainedItem]


@torch.inference_mode()
def explain(stepper: Stepper, before: UserState, last: Events, candidates: Candidates, k: int) -> Explanation:
    """Explain the k best candidates after the event `last`, of which there is one, to a user in the state `before`.

    Places are counted among the candidates. Cost: two steps, the scores of four histories, and K comparisons of
    three of them: nothing that grows with the history but the number of items met.
    """
    model, new = stepper.model, incoming([before], [last])
    state = stepper.layout.unpacked([before], model.embedding.weight)
    hidden_RD, energies_M3 = readings(model, state, int(new.items[0]), int(new.gaps[0]))
    (after,) = stepper.advance([before.copy()], [last])
    (top,) = stepper.top([after], candidates, k)
    met = None if model.repeats is None else met_of([after] * READINGS).to(hidden_RD.device)
    log_RN = model.scores_with(hidden_RD, met).log_softmax(-1)
    ranked_RN = log_RN.where(torch.from_numpy(_shown(after, candidates)).to(log_RN.device), -torch.inf)
    at_K = torch.from_numpy(top.items - 1).to(log_RN.device)
    biases_2K = torch.stack((_item_biases(model), _repeat_biases(model, met)))[:, at_K]
    columns = zip(
        top.items.tolist(), top.scores.tolist(), log_RN[:, at_K].T, biases_2K.T.tolist(), strict=True
    )
    items = [
        ExplainedItem(item, score, *_chances(log_R, ranked_RN), *biases)
        for item, score, log_R, biases in columns
    ]
    return Explanation(shares_of(energies_M3, model.config.width), items)


def _shown(user: UserState, candidates: Candidates) -> np.ndarray:
    """What may be in the list, bool [N]."""
    shown = candidates.allowed.copy()
    if candidates.filter_seen:
        shown[user.met.entries()[:, 0] - 1] = False
    return shown


def _chances(log_R: Tensor, ranked_RN: Tensor) -> tuple[Chance, Chance, Chance]:
    """One item's chance in each reading."""
    places = (ranked_RN > log_R.unsqueeze(1)).sum(1) + 1
    every, no_long, no_short = zip(log_R.tolist(), places.tolist(), strict=True)
    return Chance(*every), Chance(*no_long), Chance(*no_short)


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
        branches, _ = block.attention.step_branches(block.attention_norm(x), turns, _expanded(state))
        energies.append(branch_energies(Branches(*(part[ALL] for part in branches))))
        attention, local, gate = branches
        x = block.finish(x, Branches(attention * keep_long, local * keep_short, gate))
    return x, torch.stack(energies)


def _expanded(state: LayerState) -> LayerState:
    """One history's state as that of three."""
    (S, z), tail = state
    attention = AttentionState(S.expand(READINGS, *S.shape[1:]), z.expand(READINGS, *z.shape[1:]))
    return LayerState(attention, tail.expand(READINGS, *tail.shape[1:]))


def _item_biases(model: RecGRELA) -> Tensor:
    """[N], above their mean."""
    if model.item_bias is None:
        return model.item_weights.new_zeros(model.config.num_items)
    biases = model.item_bias.of_items
    return biases - biases.mean()


def _repeat_biases(model: RecGRELA, met: Met | None) -> Tensor:
    """[N] after the whole history, 0 for an item that was not met."""
    biases_RN = model.item_weights.new_zeros(READINGS, model.config.num_items)
    if model.repeats is not None and met is not None:
        model.repeats.raise_met(biases_RN, met)
    return biases_RN[ALL]
