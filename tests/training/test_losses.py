"""Every loss that a configuration can name learns, touches the rows it says, and resumes to the same bits."""

from typing import get_args

import numpy as np
import pytest
import torch
from training_cases import ITEMS, PAPER, Ear, assert_same_weights, make_training

from grela.ops.losses.softmax import naive_softmax
from grela.training.config import LossName, TrainingConfig
from grela.training.losses import DENSE, event_counts, touches_few_rows
from grela.training.sequences import TrainingSequences

LOSSES = get_args(LossName)
FEW = [name for name in LOSSES if name not in DENSE]


def share_found(training) -> float:
    """How often the unseen item with the highest score is the one that certainly follows, over one epoch's rows."""
    hits = events = 0
    for row in (row for step in training.plan.epoch(0) for row in step.rows):
        with torch.no_grad():
            hidden, _ = training.model(row.items, row.segments, row.positions, gaps=row.gaps)
            scores = training.model.scores(hidden.squeeze(0), row.seen)
        position, item = row.seen.pairs(0, row.events)
        scores[position, item - 1] = -torch.inf
        hits, events = hits + int((scores.argmax(1) + 1 == row.targets).sum()), events + row.events
    return hits / events


DRAWING = [name for name in FEW if name != "scalable_cross_entropy"]


@pytest.mark.parametrize(
    ("loss", "power"), [(name, 0.0) for name in LOSSES] + [(name, 0.75) for name in DRAWING]
)
def test_every_loss_learns_what_is_certain(loss, power):
    """Histories that count upwards, 6 to 23 items unseen: chance finds less than 1 in 6.

    Without gaps, which are random here and slow gBCE down.
    """
    settings = {"loss": loss, "negatives": 12, "frequency_power": power, "calibration": 0.5}
    settings["parts"] = PAPER | {"repeats": True, "item_bias": True}
    training = make_training(None, epochs=4, warmup_steps=1, validate=None, **settings)
    assert share_found(training) < 0.1
    training.run()
    assert share_found(training) > 0.4


@pytest.mark.parametrize("loss", FEW)
def test_a_step_touches_the_rows_of_its_items_and_draws_only(loss):
    training = make_training(None, loss=loss, negatives=2)
    assert training.model.embedding.sparse
    before = training.model.embedding.weight.detach().clone()
    step = next(training.plan.epoch(0))
    training.one_step(step)
    gradient = training.model.embedding.weight.grad
    assert gradient.is_sparse
    moved = set((training.model.embedding.weight != before).any(1).nonzero().squeeze(1).tolist())
    assert moved <= set(gradient.coalesce().indices()[0].tolist())
    assert {int(x) for row in step.rows for x in row.targets} <= moved
    assert 0 not in moved


@pytest.mark.parametrize("loss", FEW)
def test_resumed_it_ends_with_the_same_bits(tmp_path, loss):
    class Break(Exception):
        pass

    def stop(report) -> None:
        if report.epoch == 2 and report.step == 2:
            raise Break

    settings = {"loss": loss, "negatives": 5, "frequency_power": 0.5, "epochs": 2, "precision": "bf16"}
    unbroken = make_training(None, **settings)
    unbroken.run()
    with pytest.raises(Break):
        make_training(tmp_path, listener=Ear(stop), **settings).run()
    resumed = make_training(tmp_path, **settings)
    resumed.run()
    assert_same_weights(resumed.model.state_dict(), unbroken.model.state_dict())


def test_a_function_of_ones_own_takes_the_place_of_the_named_loss():
    calls = []

    def own(hidden, weight, targets, rng):
        calls.append(targets)
        assert weight.shape == (ITEMS + 1, hidden.shape[1])
        return naive_softmax(hidden, weight, targets, rng)

    named, given = make_training(None, epochs=1), make_training(None, epochs=1, loss_function=own)
    named.run(), given.run()
    rows = [row for step in given.plan.epoch(0) for row in step.rows]
    asked = sum(row.events + len(row.after.places) for row in rows)
    assert sum(len(targets.items) for targets in calls) == asked
    assert all(targets.seen is not None for targets in calls)
    for a, b in zip(named.model.parameters(), given.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_only_full_softmax_touches_every_row():
    assert [name for name in LOSSES if not touches_few_rows(TrainingConfig(loss=name))] == list(DENSE)


def test_events_are_counted_where_they_are_trained_on():
    items = np.array([1, 2, 2, 5, 5, 5, 3, 4, 1], np.int32)
    start, end = np.array([0, 3, 4, 6]), np.array([2, 3, 6, 9])
    assert event_counts(TrainingSequences(items, start, end), 6).tolist() == [2, 1, 1, 1, 2, 0]
