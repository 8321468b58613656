"""What follows a row's targets is the log's, as far as training reaches; and it is learnt from as its weight says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.losses.softmax import naive_softmax
from grela.ops.losses.targets import Targets
from grela.training import prefixes, streams, windows
from grela.training.objective import row_loss
from grela.training.prefixes import PrefixPlan, PrefixStep
from grela.training.sequences import TrainingSequences
from grela.training.streams import StreamPlan
from grela.training.windows import PackedRow, WindowPlan

PLANS = [WindowPlan, StreamPlan, PrefixPlan]
PLAIN = {"gaps": False, "repeats": False, "item_bias": False, "next_gaps": 0}


def sequences(lengths: list[int], held_out: int = 1) -> TrainingSequences:
    """Item ids are places in the log counted from 1; the last `held_out` events of each history are not trained on."""
    end = np.cumsum(lengths).astype(np.int64)
    start = end - lengths
    items = np.arange(1, sum(lengths) + 1, dtype=np.int32)
    return TrainingSequences(items, start, np.maximum(start, end - held_out))


@pytest.fixture(autouse=True)
def _small_rows():
    with pytest.MonkeyPatch.context() as patch:
        for module in (windows, streams, prefixes):
            patch.setattr(module, "LEAST_POSITIONS", 5)
        yield


def must_follow(row, s: TrainingSequences) -> None:
    """The row tells what follows each of its targets but those that training ends with."""
    history = np.searchsorted(s.start, row.targets.numpy() - 1, side="right") - 1
    goes_on = np.flatnonzero(row.targets.numpy() < s.end[history])
    assert row.after.places.tolist() == goes_on.tolist()
    assert torch.equal(row.after.items, row.targets[goes_on] + 1)
    assert torch.equal(row.after.seen.start, torch.from_numpy(s.start[history[goes_on]]))
    assert torch.equal(row.after.seen.end, row.targets[goes_on])


@pytest.mark.parametrize("make", PLANS)
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), extra=st.integers(0, 30))
def test_rows_of_every_plan_tell_what_follows_their_targets(make, lengths, extra):
    s = sequences(lengths)
    for step in make(s, 7, 7 + extra, 3).epoch(1):
        for row in step.rows:
            must_follow(row, s)


def test_rows_joined_and_prefixes_padded_tell_the_same():
    s = sequences([5, 90, 33, 7])
    step = next(WindowPlan(s, 9, 40, 3).epoch(0))
    assert len(step.rows) > 1
    must_follow(PackedRow.joined(step.rows), s)
    must_follow(PrefixStep(s, np.array([0, 5, 128]), np.array([1, 10, 128]), np.array([3, 9, 5])), s)


@pytest.mark.parametrize("form", ["causal", "bidirectional"])
def test_the_loss_is_that_of_what_follows_by_its_weight_on_top(form):
    s = sequences([9, 3, 30])
    make = WindowPlan if form == "causal" else PrefixPlan
    row = next(make(s, 50, 400, 3).epoch(0)).rows[0]
    shape = RecGRELAConfig(num_items=42, form=form, width=16, heads=2, layers=2, **PLAIN)
    model = RecGRELA(shape, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.after_next.map.normal_(generator=torch.Generator().manual_seed(1))
    heard = []

    def loss(hidden, weight, targets: Targets, rng) -> torch.Tensor:
        heard.append((hidden, targets))
        return naive_softmax(hidden, weight, targets, rng)

    def value(weight: float) -> float:
        object.__setattr__(model.config, "after_next", weight)
        # Without a generator nothing is dropped.
        return row_loss(model, row, None, loss=loss, dtype=torch.float32)[0].item()

    whole, plain = value(2.0), value(0.0)
    (mapped, after), (hidden, targets) = heard[:2]
    assert torch.equal(targets.items, row.targets)
    assert torch.equal(after.items, row.after.items)
    chosen = hidden[row.after.places]
    torch.testing.assert_close(mapped, chosen + chosen @ model.after_next.map.T)
    logits = mapped @ model.item_weights.T
    picked = logits.log_softmax(1)[torch.arange(len(after.items)), after.items - 1]
    assert whole - plain == pytest.approx(-2 * picked.sum().item() / len(row.targets), rel=1e-5)
    assert whole > plain + 1


def test_a_row_whose_targets_all_end_their_histories_has_the_plain_loss():
    row = next(WindowPlan(sequences([3, 3, 3]), 50, 400, 3).epoch(0)).rows[0]
    assert not len(row.after.places)
    shape = RecGRELAConfig(num_items=9, width=16, heads=2, layers=1, **PLAIN)
    model = RecGRELA(shape, rng=torch.Generator().manual_seed(0))
    loss, _ = row_loss(model, row, None, loss=naive_softmax, dtype=torch.float32)
    hidden, _ = model(row.items, row.segments, row.positions)
    expected = torch.nn.functional.cross_entropy(hidden[0] @ model.item_weights.T, row.targets - 1)
    torch.testing.assert_close(loss, expected)
