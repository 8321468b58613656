"""Laws of every floor: fitted from training alone, whatever is read at a time, and a scorer of the evaluation."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from floor_cases import FLOORS

from grela.data.histories import HistoryBatch
from grela.errors import ConfigError, EmptyDataError
from grela.evaluation import training_events
from grela.evaluation.evaluate import evaluate
from grela.evaluation.floors import item_knn, markov, recent_popularity
from grela.evaluation.training_events import pieces, places, training_histories
from small_splits import make_split, random_split

ITEMS = 13
BATCH = HistoryBatch.of([np.array(h, np.int32) for h in ([3, 5, 3], [], [13], [1, 2, 3, 4, 5, 6, 7, 8])])


@pytest.fixture
def split():
    return random_split(np.random.default_rng(5), users=30, num_items=ITEMS, longest=9)


@pytest.mark.parametrize("name", FLOORS)
def test_events_held_out_change_nothing(name, split):
    histories = split.histories
    held_out = np.arange(histories.num_events) >= np.repeat(
        histories.offsets[:-1] + split.train_end, histories.lengths
    )
    items, times = histories.items.copy(), histories.times.copy()
    items[held_out] = items[held_out] % ITEMS + 1
    times[held_out] *= 2
    other = replace(split, histories=replace(histories, items=items, times=times))
    expected = FLOORS[name](split).scores(BATCH)
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(FLOORS[name](other).scores(BATCH), expected)


@pytest.mark.parametrize("name", FLOORS)
def test_how_much_is_read_at_a_time_changes_nothing(name, split, monkeypatch):
    expected = FLOORS[name](split).scores(BATCH)
    for module in (training_events, item_knn, markov, recent_popularity):
        monkeypatch.setattr(module, "pieces", partial(pieces, events=3))
    np.testing.assert_allclose(FLOORS[name](split).scores(BATCH), expected, rtol=1e-12)


@pytest.mark.parametrize("name", FLOORS)
def test_arrays_that_cannot_be_written_are_enough(name, split):
    for array in (split.histories.items, split.histories.times, split.train_end):
        array.setflags(write=False)
    FLOORS[name](split).scores(BATCH)


@pytest.mark.parametrize("name", FLOORS)
def test_it_is_a_scorer_of_the_evaluation(name, split):
    floor = FLOORS[name](split)
    assert floor.num_items == ITEMS
    scores = floor.scores(BATCH)
    assert scores.shape == (4, ITEMS)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert floor.scores(BATCH.take(slice(0, 0))).shape == (0, ITEMS)
    counts = np.bincount(split.histories.items, minlength=ITEMS + 1)
    found = evaluate(floor, split.cases("test"), train_counts=counts, resamples=1)
    assert 0 < found.unfiltered["mrr"] < 1


@pytest.mark.parametrize("name", FLOORS)
def test_without_training_events_nothing_is_fitted(name):
    empty = make_split([[], []], num_items=3, held_out=[[1, 2], [3]])
    with pytest.raises((EmptyDataError, ConfigError), match=r"training (events|set)"):
        FLOORS[name](empty)


def test_pieces_are_all_histories_in_order_and_no_longer_than_asked(split):
    training = training_histories(split)
    for events in (1, 7, 9, 10**6):
        found = list(pieces(training, events=events))
        assert sum(len(piece) for piece in found) == len(training)
        assert all(piece.lengths.sum() <= events or len(piece) == 1 for piece in found)
        joined = np.concatenate([piece.items[places(piece)] for piece in found])
        np.testing.assert_array_equal(joined, np.concatenate([training[u] for u in range(len(training))]))
