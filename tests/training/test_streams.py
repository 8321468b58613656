"""Streams: whole histories one after the other, read piece by piece, every event but each first a target once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.training import streams
from grela.training.sequences import TrainingSequences
from grela.training.streams import StreamPlan, dealt


def sequences(lengths: list[int]) -> TrainingSequences:
    """Item ids are places in the log counted from 1, so that every event can be told from every other."""
    end = np.cumsum(lengths).astype(np.int64)
    return TrainingSequences(np.arange(1, end[-1] + 1, dtype=np.int32), end - lengths, end)


def beginning(s: TrainingSequences, items: np.ndarray) -> np.ndarray:
    """The place in the log where the history of each item begins."""
    begin: np.ndarray = s.start[np.searchsorted(s.end, items - 1, side="right")]
    return begin


def contents(step) -> list:
    return [[row.items.tolist(), row.targets.tolist(), row.continues, row.unfinished] for row in step.rows]


@pytest.fixture(autouse=True)
def _small_rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "LEAST_POSITIONS", 5)
        yield


plans = {
    "lengths": st.lists(st.integers(0, 40), min_size=1, max_size=12),
    "window": st.integers(2, 9),
    "extra": st.integers(0, 30),
    "seed": st.integers(0, 2**63 - 1),
    "epoch": st.integers(0, 60),
}


@settings(max_examples=80, deadline=None)
@given(**plans)
def test_every_event_but_the_first_is_a_target_once_after_all_before_it(lengths, window, extra, seed, epoch):
    s = sequences(lengths)
    plan = StreamPlan(s, window, window + extra, seed)
    steps = list(plan.epoch(epoch))
    assert len(steps) == plan.steps(epoch)
    targets = sorted(t for step in steps for row in step.rows for t in row.targets.tolist())
    assert targets == [
        place + 1 for low, high in zip(s.start, s.end, strict=True) for place in range(low + 1, high)
    ]
    for row in (row for step in steps for row in step.rows):
        items, segments, positions = (x[0].numpy() for x in (row.items, row.segments, row.positions))
        assert np.array_equal(row.targets.numpy(), items + 1)
        begin = beginning(s, items)
        assert np.array_equal(begin, beginning(s, items + 1))
        assert np.array_equal(positions, items - 1 - begin)
        assert np.array_equal(segments, np.cumsum(np.diff(begin, prepend=begin[0]) != 0))
        # Only a row's first segment may be the rest of a history.
        assert all(positions[at] == 0 for at in np.flatnonzero(np.diff(segments, prepend=-1)) if at)
        assert np.array_equal(row.seen.start.numpy(), begin)
        assert np.array_equal(row.seen.end.numpy(), items)


@settings(max_examples=80, deadline=None)
@given(**plans)
def test_a_row_goes_on_where_the_same_row_of_the_step_before_ended(lengths, window, extra, seed, epoch):
    s = sequences(lengths)
    steps = list(StreamPlan(s, window, window + extra, seed).epoch(epoch))
    if not steps:
        return
    rows = len(steps[0].rows)
    for r in range(rows):
        stream = [step.rows[r] for step in steps if len(step.rows) > r]
        # A stream that has run out gives no row, and the rows left keep their numbers.
        assert all(len(step.rows) <= r for step in steps[len(stream) :])
        assert not stream[0].continues
        assert not stream[-1].unfinished
        for row, following in pairwise(stream):
            goes_on = following.items[0, 0] == row.targets[-1] and following.positions[0, 0] > 0
            assert row.unfinished == following.continues == bool(goes_on)
            assert following.continues or following.positions[0, 0] == 0


def test_rows_are_full_until_their_stream_ends():
    plan = StreamPlan(sequences([5, 90, 33, 7, 61, 44, 80]), 9, 40, 3)
    steps = list(plan.epoch(0))
    assert [row.events for row in steps[0].rows] == [10] * 4
    for step, following in pairwise(steps):
        assert [row.events for row in step.rows[: len(following.rows)]] == [10] * len(following.rows)
    assert all(0 < row.events <= 10 for step in steps for row in step.rows)


def test_streams_are_balanced_as_far_as_whole_histories_allow():
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.geometric(0.01, 400))[::-1]
    loads = np.bincount(dealt(lengths, 4), weights=lengths)
    assert loads.max() - loads.min() <= lengths.min()
    # One history of more than its share is a stream of its own, and the others share the rest.
    assert np.bincount(dealt(np.array([900, 50, 40, 30, 20]), 3), weights=[900, 50, 40, 30, 20]).tolist() == [
        900,
        70,
        70,
    ]


def test_seed_and_epoch_alone_decide_the_steps():
    s = sequences([0, 1, 2, 40, 7, 19, 19, 19])
    plan = StreamPlan(s, 6, 24, 5)
    first = [contents(step) for step in plan.epoch(3)]
    list(plan.epoch(1))
    assert [contents(step) for step in StreamPlan(s, 6, 24, 5).epoch(3)] == first
    assert [contents(step) for step in plan.epoch(3)] == first
    assert [contents(step) for step in plan.epoch(4)] != first
    assert [contents(step) for step in StreamPlan(s, 6, 24, 6).epoch(3)] != first


def test_skip_gives_the_tail_of_the_same_steps():
    plan = StreamPlan(sequences([3, 40, 7, 19, 25]), 6, 24, 5)
    all_steps = [contents(step) for step in plan.epoch(2)]
    for skip in range(len(all_steps) + 1):
        assert [contents(step) for step in plan.epoch(2, skip=skip)] == all_steps[skip:]


def test_histories_too_short_for_a_target_give_no_step():
    plan = StreamPlan(sequences([0, 1, 1, 0]), 4, 8, 0)
    assert plan.steps(0) == 0
    assert list(plan.epoch(0)) == []
