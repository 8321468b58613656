"""What follows a row's targets is the log's, as far as training reaches; and it is learnt from as its weight says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fit_cases import log, small_config
from grela import Recommender
from grela.models.compiled_row import FlatGradients
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS
from grela.ops.losses.softmax import naive_softmax
from grela.ops.losses.targets import Targets
from grela.training import prefixes, streams, windows
from grela.training.objective import compiled_row, row_loss
from grela.training.prefixes import PrefixPlan, PrefixStep
from grela.training.sequences import TrainingSequences
from grela.training.streams import StreamPlan
from grela.training.windows import PackedRow, WindowPlan

PLANS = [WindowPlan, StreamPlan, PrefixPlan]
PLAIN = {"gaps": False, "repeats": False, "item_bias": False, "next_gaps": 0}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


@pytest.mark.parametrize("form", ["causal", "bidirectional"])
def test_such_a_row_leaves_the_map_to_what_follows_where_it_is(form):
    make = WindowPlan if form == "causal" else PrefixPlan
    row = next(make(sequences([3, 3, 3]), 50, 400, 3).epoch(0)).rows[0]
    shape = RecGRELAConfig(num_items=9, form=form, width=16, heads=2, layers=1, **PLAIN)
    model = RecGRELA(shape, rng=torch.Generator().manual_seed(0))
    loss, _ = row_loss(model, row, None, loss=naive_softmax, dtype=torch.float32)
    names, parameters = zip(*model.named_parameters(), strict=True)
    by = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    assert not by["after_next.map"].any()
    assert by["embedding.weight"].any()


@pytest.mark.parametrize("form", ["causal", "bidirectional"])
def test_users_of_two_training_events_can_be_fitted(form):
    """Of four events the last two are held out, so nothing of what is trained on has an item after the next."""
    config = small_config(model={"form": form}, training={"kernels": "torch"})
    maps = [Recommender.fit(log(length=4), config=config).model.after_next.map for _ in range(2)]
    assert torch.equal(*maps)
    assert maps[0].isfinite().all()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("parts", [PLAIN, {}], ids=["plain", "default"])
def test_such_a_row_by_the_kernels_is_the_row_by_autograd(parts):
    s = sequences([3, 3, 3])
    s = replace(s, gaps=np.arange(9, dtype=np.uint8) % BUCKETS)
    row = next(WindowPlan(s, 50, 400, 3).epoch(0)).rows[0]
    assert not len(row.after.places)
    model = RecGRELA(RecGRELAConfig(num_items=9, width=32, heads=2, dropout=0.0, **parts), rng=generator(0))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator(1))
    loss, _ = row_loss(model, row, None, loss=naive_softmax, dtype=torch.float32)
    by = torch.autograd.grad(loss, list(model.parameters()))
    value, flat, _ = compiled_row(
        model, row, generator(2), without_seen=False, dtype=torch.float32, share=1.0
    )
    assert value == pytest.approx(loss.item(), rel=1e-5)
    parts_of = FlatGradients(list(model.parameters())).parts(flat)
    for (name, _), found, expected in zip(model.named_parameters(), parts_of, by, strict=True):
        # Sums of float32 in another order. Attention of one event to itself leaves queries and keys rounding alone.
        assert (found - expected).norm() <= 1e-4 * expected.norm() + 1e-5, name
        assert name != "after_next.map" or not found.any()
