"""Laws of the explanation: each reading is the model's own but for the branch that it leaves out at the last event."""

import numpy as np
import pytest
import torch
from models.model_cases import ITEMS, trained_size_model
from torch import Tensor

from grela.data.histories import HistoryBatch
from grela.errors import RequestError
from grela.models.analysis import branch_shares
from grela.models.recgrela import RecGRELA
from grela.nn.attention import Branches, LayerState
from grela.ops.gaps import gap_buckets
from grela.ops.linear_attention import empty_state
from grela.serving.explanation import ExplainedItem, explain
from grela.serving.scorer import ModelScorer
from grela.serving.state import Events
from grela.serving.stepper import TorchStepper

EVERY_ITEM = np.arange(1, ITEMS + 1)
BRANCHES = {"all": (1, 1), "without_long_term": (0, 1), "without_short_term": (1, 0)}


def made_up_history(length: int) -> Events:
    rng = np.random.default_rng(length)
    times = np.cumsum(rng.integers(0, 100_000, length))
    return Events(rng.integers(1, ITEMS // 2, length).astype(np.int32), times)


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
        (O, L, G), _ = block.attention.branches(normed, model.turns(positions), torch.zeros(1, length), state)
        x = block.finish(x, Branches(O * keep[0], L * keep[1], G))
    return x[:, -1]


@pytest.mark.parametrize("length", [1, 2, 3, 40])
@pytest.mark.parametrize("settings", [{}, {"next_gaps": 0, "gaps": False}, {"gate": False, "decay": True}])
@torch.inference_mode()
def test_each_reading_is_the_whole_history_read_with_a_branch_left_out_at_its_end(
    length: int, settings: dict
) -> None:
    model = trained_size_model(dtype=torch.float32, **settings)
    history = made_up_history(length)
    found = explain(TorchStepper(model), history, EVERY_ITEM)
    assert [item.item for item in found.items] == EVERY_ITEM.tolist()
    scorer = ModelScorer(model, window=50)
    for reading, branches in BRANCHES.items():
        scorer.hidden = lambda _batch, branches=branches: read_whole(model, history, *branches)  # type: ignore[method-assign]
        scores = scorer.scores(HistoryBatch.of([history.items], [history.times]))
        expected = torch.from_numpy(scores).log_softmax(-1)[0].numpy()
        np.testing.assert_allclose(log_probabilities(found.items, reading), expected, rtol=1e-3, atol=2e-3)


def test_with_all_branches_the_chances_are_the_recommenders_scores() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(30)
    scores = ModelScorer(model, window=50).scores(HistoryBatch.of([history.items], [history.times]))[0]
    found = explain(TorchStepper(model), history, EVERY_ITEM)
    np.testing.assert_allclose(log_probabilities(found.items, "all"), scores, atol=1e-4)


def test_places_count_the_likelier_items_that_may_be_shown() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(30)
    allowed = np.arange(ITEMS) % 3 > 0
    for mask in (None, allowed):
        found = explain(TorchStepper(model), history, EVERY_ITEM, allowed=mask)
        for reading in ("chance", "without_long_term", "without_short_term"):
            chances = [getattr(item, reading) for item in found.items]
            others = [c.log_probability for c, may in zip(chances, allowed, strict=True) if mask is None or may]
            expected = [1 + sum(other > c.log_probability for other in others) for c in chances]
            assert [c.place for c in chances] == expected


def test_shares_of_a_single_event_are_those_of_the_analysis() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(1)
    found = explain(TorchStepper(model), history, EVERY_ITEM[:3])
    expected = branch_shares(model, [history.items], [np.zeros(1, np.uint8)])
    for ours, theirs in zip(found.layers, expected, strict=True):
        assert ours.layer == theirs.layer
        assert ours.attention + ours.local == pytest.approx(1)
        assert (ours.attention, ours.gate_open) == pytest.approx((theirs.attention, theirs.gate_open), rel=1e-4)


def test_a_branch_that_the_model_lacks_changes_nothing() -> None:
    model = trained_size_model(dtype=torch.float32, local_branch=False)
    found = explain(TorchStepper(model), made_up_history(20), EVERY_ITEM)
    assert all(item.chance == item.without_short_term for item in found.items)
    assert all(item.chance != item.without_long_term for item in found.items)
    assert [layer.attention for layer in found.layers] == [1.0] * len(found.layers)


def test_biases_are_what_is_added_to_the_logits() -> None:
    model, history = trained_size_model(dtype=torch.float32), made_up_history(20)
    found = explain(TorchStepper(model), history, EVERY_ITEM)
    assert model.item_bias is not None
    of_items = model.item_bias.of_items.detach().numpy()
    np.testing.assert_allclose([i.item_bias for i in found.items], of_items - of_items.mean(), atol=1e-5)
    met = {item.item for item in found.items if item.repeat_bias != 0}
    assert met == set(history.items.tolist())
    plain = trained_size_model(dtype=torch.float32, repeats=False, item_bias=False)
    found = explain(TorchStepper(plain), history, EVERY_ITEM)
    assert {(i.item_bias, i.repeat_bias) for i in found.items} == {(0.0, 0.0)}


def test_nothing_chosen_gives_the_layers_alone() -> None:
    model = trained_size_model(dtype=torch.float32)
    found = explain(TorchStepper(model), made_up_history(5), EVERY_ITEM[:0])
    assert (len(found.layers), found.items) == (model.config.layers, [])


def test_an_empty_history_has_nothing_to_explain() -> None:
    with pytest.raises(RequestError, match="before the first event"):
        explain(TorchStepper(trained_size_model(dtype=torch.float32)), made_up_history(0), EVERY_ITEM)
