"""Laws of the explanation: each reading is the model's own but for the branch that it leaves out at the last event."""

import numpy as np
import pytest
import torch
from torch import Tensor

from grela.data.histories import HistoryBatch
from grela.models.analysis import branch_shares
from grela.models.recgrela import RecGRELA
from grela.nn.attention import Branches, LayerState
from grela.ops.gaps import gap_buckets
from grela.ops.linear_attention import empty_state
from grela.serving.explanation import ExplainedItem, Explanation, explain
from grela.serving.ranking import Candidates
from grela.serving.scorer import ModelScorer
from grela.serving.state import Events
from grela.serving.stepper import TorchStepper
from models.model_cases import ITEMS, arrays, trained_size_model
from reference import naive_recgrela

EVERY_ITEM = np.arange(1, ITEMS + 1)
BRANCHES = {"all": (1, 1), "without_long_term": (0, 1), "without_short_term": (1, 0)}


def made_up_history(length: int) -> Events:
    rng = np.random.default_rng(length)
    times = np.cumsum(rng.integers(0, 100_000, length))
    return Events(rng.integers(1, ITEMS // 2, length).astype(np.int32), times)


def explained(
    model: RecGRELA,
    history: Events,
    *,
    k: int = ITEMS,
    allowed: np.ndarray | None = None,
    filter_seen: bool = False,
) -> Explanation:
    """The list of the whole catalogue, in the order of the items, with what is behind it."""
    stepper = TorchStepper(model)
    (before,) = stepper.rebuild(HistoryBatch.of([history.items[:-1]], [history.times[:-1]]))
    last = Events(history.items[-1:], history.times[-1:])
    candidates = Candidates(np.full(ITEMS, True) if allowed is None else allowed, filter_seen)
    return explain(stepper, before, last, candidates, k)


def by_item(found: Explanation) -> list[ExplainedItem]:
    return sorted(found.items, key=lambda one: one.item)


def log_probabilities(items: list[ExplainedItem], reading: str) -> np.ndarray:
    name = "chance" if reading == "all" else reading
    return np.array([getattr(item, name).log_probability for item in items])


def read_whole(model: RecGRELA, history: Events, long: int, short: int) -> Tensor:
    """The definition: the whole history through every layer, O and L at the last position times `long` and `short`."""
    length, width = len(history.items), model.config.width
    per_head = width // model.config.heads
    positions = torch.arange(length).unsqueeze(0)
    gaps = torch.from_numpy(gap_buckets(history.times, np.zeros(1, np.int64)).astype(np.int64)).unsqueeze(0)
    x = model.embed(torch.from_numpy(history.items.astype(np.int64)).unsqueeze(0), positions, None, gaps)
    keep = torch.ones(2, 1, length, 1)
    keep[:, 0, -1, 0] = torch.tensor([long, short])
    for block in model.each_block():
        normed = block.attention_norm(x)
        state = LayerState(
            empty_state(1, model.config.heads, per_head, per_head, like=x), block.attention.empty_tail(normed)
        )
        (attention, local, gate), _ = block.attention.branches(
            normed, model.turns(positions), torch.zeros(1, length), state
        )
        x = block.finish(x, Branches(attention * keep[0], local * keep[1], gate))
    return x[:, -1]


@pytest.mark.parametrize("length", [1, 2, 3, 40])
@pytest.mark.parametrize("settings", [{}, {"next_gaps": 0, "gaps": False}, {"gate": False, "decay": True}])
@torch.inference_mode()
def test_each_reading_is_the_whole_history_read_with_a_branch_left_out_at_its_end(
    length: int, settings: dict
) -> None:
    model = trained_size_model(dtype=torch.float32, **settings)
    history = made_up_history(length)
    found = by_item(explained(model, history))
    assert [item.item for item in found] == EVERY_ITEM.tolist()
    scorer = ModelScorer(model, window=50)
    for reading, branches in BRANCHES.items():
        scorer.hidden = lambda _batch, branches=branches: read_whole(model, history, *branches)  # type: ignore[method-assign]
        scores = scorer.scores(HistoryBatch.of([history.items], [history.times]))
        expected = torch.from_numpy(scores).log_softmax(-1)[0].numpy()
        np.testing.assert_allclose(log_probabilities(found, reading), expected, rtol=1e-3, atol=2e-3)


def test_the_list_is_that_of_the_recommender() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(30)
    scores = ModelScorer(model, window=50).scores(HistoryBatch.of([history.items], [history.times]))[0]
    found = explained(model, history, k=7)
    assert [item.item for item in found.items] == (1 + np.argsort(-scores)[:7]).tolist()
    np.testing.assert_allclose([item.score for item in found.items], np.sort(scores)[::-1][:7], atol=1e-4)
    np.testing.assert_allclose(log_probabilities(found.items, "all"), np.sort(scores)[::-1][:7], atol=1e-4)


@pytest.mark.parametrize("filter_seen", [False, True])
def test_places_count_the_likelier_items_that_may_be_in_the_list(filter_seen: bool) -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(30)
    every = by_item(explained(model, history))
    shown = np.arange(ITEMS) % 3 > 0
    found = explained(model, history, allowed=shown, filter_seen=filter_seen)
    if filter_seen:
        shown[history.items - 1] = False
    assert len(found.items) == shown.sum()
    for reading in ("chance", "without_long_term", "without_short_term"):
        others = [getattr(one, reading).log_probability for one, may in zip(every, shown, strict=True) if may]
        for item in found.items:
            chance = getattr(item, reading)
            assert chance.place == 1 + sum(other > chance.log_probability for other in others)
    assert [item.chance.place for item in found.items] == list(range(1, len(found.items) + 1))


def test_shares_of_a_single_event_are_those_of_the_analysis() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(1)
    found = explained(model, history)
    expected = branch_shares(model, [history.items], [np.zeros(1, np.uint8)])
    for ours, theirs in zip(found.layers, expected, strict=True):
        assert ours.layer == theirs.layer
        assert ours.attention + ours.local == pytest.approx(1)
        assert (ours.attention, ours.gate_open) == pytest.approx(
            (theirs.attention, theirs.gate_open), rel=1e-4
        )


def test_a_branch_that_the_model_lacks_changes_nothing() -> None:
    model = trained_size_model(dtype=torch.float32, local_branch=False)
    found = explained(model, made_up_history(20))
    assert all(item.chance == item.without_short_term for item in found.items)
    assert all(item.chance != item.without_long_term for item in found.items)
    assert [layer.attention for layer in found.layers] == [1.0] * len(found.layers)


def test_biases_are_what_is_added_to_the_logits() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(20)
    found = by_item(explained(model, history))
    assert model.item_bias is not None
    of_items = model.item_bias.of_items.detach().numpy()
    np.testing.assert_allclose([i.item_bias for i in found], of_items - of_items.mean(), atol=1e-5)
    assert {i.item for i in found if i.repeat_bias != 0} == set(history.items.tolist())
    plain = explained(trained_size_model(dtype=torch.float32, repeats=False, item_bias=False), history)
    assert {(i.item_bias, i.repeat_bias) for i in plain.items} == {(0.0, 0.0)}


def test_the_bias_of_repeats_is_the_definition_s() -> None:
    model = trained_size_model(dtype=torch.float32, next_gaps=0, item_bias=False)
    history = made_up_history(40)
    parameters = arrays(model)
    expected = [naive_recgrela.raised(parameters, history.items.tolist(), item) for item in EVERY_ITEM]
    np.testing.assert_allclose(
        [i.repeat_bias for i in by_item(explained(model, history))], expected, atol=1e-6
    )


def test_explaining_leaves_the_state_as_it_was() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(9)
    stepper = TorchStepper(model)
    (before,) = stepper.rebuild(HistoryBatch.of([history.items], [history.times]))
    kept = before.copy()
    explain(stepper, before, Events.of([3], [None]), Candidates(np.full(ITEMS, True), False), 5)
    assert np.array_equal(before.recurrent, kept.recurrent)
    assert np.array_equal(before.met.table, kept.met.table)
    assert (before.events, before.last_time) == (kept.events, kept.last_time)


def test_where_nothing_may_be_shown_there_are_the_layers_alone() -> None:
    model = trained_size_model(dtype=torch.float32)
    found = explained(model, made_up_history(5), allowed=np.full(ITEMS, False))
    assert (len(found.layers), found.items) == (model.config.layers, [])
