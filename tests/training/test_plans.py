"""Every event but each history's first is a target exactly once an epoch, in steps of bounded size."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.training import prefixes, windows
from grela.training.bounds import greedy_bounds
from grela.training.loop import rows_alone
from grela.training.prefixes import PrefixPlan, PrefixStep, dealt
from grela.training.sequences import TrainingSequences
from grela.training.windows import PackedRow, WindowPlan

PLANS = [WindowPlan, PrefixPlan]


def sequences(lengths: list[int]) -> TrainingSequences:
    """Item ids are places in the log counted from 1, so that every event can be told from every other."""
    end = np.cumsum(lengths).astype(np.int64)
    return TrainingSequences(np.arange(1, end[-1] + 1, dtype=np.int32), end - lengths, end)


def user_of(given_sequences: TrainingSequences, item: int) -> int:
    return int(np.searchsorted(given_sequences.end, item - 1, side="right"))


def expected_targets(given_sequences: TrainingSequences) -> list[int]:
    """All but each history's first event."""
    return [
        place + 1
        for start, end in zip(given_sequences.start, given_sequences.end, strict=True)
        for place in range(start + 1, end)
    ]


TENSORS = ("items", "targets", "segments", "positions", "lengths")


def contents(step) -> list:
    """All tensors of a step, as lists."""
    return [[value.tolist() for name, value in vars(row).items() if name in TENSORS] for row in step.rows]


plans = {
    "lengths": st.lists(st.integers(0, 30), min_size=1, max_size=12),
    "window": st.integers(2, 9),
    "extra": st.integers(0, 30),
    "seed": st.integers(0, 2**63 - 1),
    "epoch": st.integers(0, 60),
}


@settings(max_examples=60, deadline=None)
@given(**plans)
def test_packed_steps_are_windows_with_every_target_once(lengths, window, extra, seed, epoch):
    s = sequences(lengths)
    plan = WindowPlan(s, window, window + extra, seed)
    steps = list(plan.epoch(epoch))
    assert len(steps) == plan.steps(epoch)
    rows = [row for step in steps for row in step.rows]
    assert sorted(t for row in rows for t in row.targets.tolist()) == expected_targets(s)
    for step in steps:
        assert step.events == sum(row.events for row in step.rows) <= window + extra
    for row in rows:
        items, segments, positions = (x[0].numpy() for x in (row.items, row.segments, row.positions))
        assert row.events == len(row.targets) == len(items)
        # The target is the very next event of the same user.
        assert np.array_equal(row.targets.numpy(), items + 1)
        assert all(user_of(s, i) == user_of(s, i + 1) for i in items)
        assert sorted(set(segments)) == list(range(segments[-1] + 1))
        assert (np.diff(segments) >= 0).all()
        for segment in range(segments[-1] + 1):
            inside = items[segments == segment]
            assert len(inside) <= window
            assert np.array_equal(inside, inside[0] + np.arange(len(inside)))
            assert positions[segments == segment].tolist() == list(range(len(inside)))


def test_rows_of_a_step_are_of_one_size_and_as_many_as_hold_a_window(monkeypatch):
    monkeypatch.setattr(windows, "LEAST_POSITIONS", 10)
    s = sequences([5, 90, 33, 7, 61, 44, 80])
    for window, batch_positions, rows, size in (
        (9, 40, 4, 10),
        (9, 87, 4, 21),
        (15, 40, 2, 20),
        (25, 40, 1, 40),
    ):
        plan = WindowPlan(s, window, batch_positions, 3)
        *full, _ = steps = list(plan.epoch(0))
        assert [[row.events for row in step.rows] for step in full] == [[size] * rows] * len(full)
        assert sorted(
            t for step in steps for row in step.rows for t in row.targets.tolist()
        ) == expected_targets(s)


def test_rows_joined_are_the_windows_of_a_row_as_long(monkeypatch):
    monkeypatch.setattr(windows, "LEAST_POSITIONS", 10)
    s = sequences([5, 90, 33, 7, 61, 44, 80])
    for step in WindowPlan(s, 9, 40, 3).epoch(0):
        joined = PackedRow.joined(step.rows)
        places = joined.items[0].numpy() - 1
        begins = np.flatnonzero(np.r_[True, joined.positions[0, 1:].numpy() == 0])
        length = np.diff(np.r_[begins, len(places)])
        begin = joined.seen.start.numpy()[begins]
        alone = PackedRow.cut(s, begin, places[begins], length)
        for name in TENSORS[:4]:
            assert torch.equal(getattr(joined, name), getattr(alone, name)), name
        assert torch.equal(joined.seen.end, alone.seen.end)


@settings(max_examples=30, deadline=None)
@given(**plans)
def test_a_position_has_seen_all_of_its_history_up_to_itself(lengths, window, extra, seed, epoch):
    s = sequences(lengths)
    for step in WindowPlan(s, window, window + extra, seed).epoch(epoch):
        for row in step.rows:
            seen = row.seen
            for p, item in enumerate(row.items[0].tolist()):
                beginning = int(s.start[user_of(s, item)])
                assert seen.history[seen.start[p] : seen.end[p]].tolist() == list(
                    range(beginning + 1, item + 1)
                )


@settings(max_examples=30, deadline=None)
@given(**plans)
def test_on_a_device_a_step_of_prefixes_is_one_row(lengths, window, extra, seed, epoch):
    s = sequences(lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefixes, "LEAST_POSITIONS", 2)
        for step in PrefixPlan(s, window, window + extra, seed).epoch(epoch):
            assert rows_alone(step, s, torch.device("cpu")) is step.rows
            [joined] = rows_alone(step, s, torch.device("cuda"))
            for name in ("items", "targets", "lengths"):
                parts = [getattr(row, name) for row in step.rows]
                assert torch.equal(getattr(joined, name), torch.cat(parts)), name
            for name in ("start", "end"):
                parts = [getattr(row.seen, name) for row in step.rows]
                assert torch.equal(getattr(joined.seen, name), torch.cat(parts)), name


@settings(max_examples=60, deadline=None)
@given(**plans)
def test_prefix_steps_are_the_right_slices_with_every_target_once(lengths, window, extra, seed, epoch):
    s = sequences(lengths)
    plan = PrefixPlan(s, window, window + extra, seed)
    steps = list(plan.epoch(epoch))
    assert len(steps) == plan.steps(epoch)
    rows = [row for step in steps for row in step.rows]
    assert sorted(t for row in rows for t in row.targets.tolist()) == expected_targets(s)
    for step in steps:
        assert sum(len(row.items) for row in step.rows) <= window + extra
        assert step.events == sum(len(row.targets) for row in step.rows)
    for row in rows:
        prefixes = row.items.split(row.lengths.tolist())
        for b, (items, target) in enumerate(zip(prefixes, row.targets.tolist(), strict=True)):
            beginning = int(s.start[user_of(s, target)]) + 1
            assert items.tolist() == list(range(max(beginning, target - window), target))
            seen = row.seen.history[row.seen.start[b] : row.seen.end[b]]
            assert seen.tolist() == list(range(beginning, target))


def test_rows_of_a_prefix_step_are_about_equal_and_worth_a_thread(monkeypatch):
    s = sequences([3, 60, 33, 7, 80] * 8)
    assert {len(step.rows) for step in PrefixPlan(s, 50, 1_000, 0).epoch(0)} == {1}
    monkeypatch.setattr(prefixes, "LEAST_POSITIONS", 200)
    for batch_positions, window, rows in ((399, 50, 1), (800, 50, 4), (4_000, 50, 4), (900, 300, 3)):
        *full, _ = PrefixPlan(s, window, batch_positions, 0).epoch(0)
        for step in full:
            sizes = [len(row.items) for row in step.rows]
            assert len(sizes) == rows
            assert max(sizes) - min(sizes) <= 50


@pytest.mark.parametrize("make", PLANS)
def test_seed_and_epoch_alone_decide_the_steps(make):
    s = sequences([0, 1, 2, 40, 7, 19])
    plan = make(s, 6, 24, 5)
    first = [contents(step) for step in plan.epoch(3)]
    list(plan.epoch(1))
    assert [contents(step) for step in make(s, 6, 24, 5).epoch(3)] == first
    assert [contents(step) for step in plan.epoch(3)] == first
    assert [contents(step) for step in plan.epoch(4)] != first
    assert [contents(step) for step in make(s, 6, 24, 6).epoch(3)] != first


@pytest.mark.parametrize("make", PLANS)
def test_skip_gives_the_tail_of_the_same_steps(make):
    plan = make(sequences([3, 40, 7, 19, 25]), 6, 24, 5)
    all_steps = [contents(step) for step in plan.epoch(2)]
    for skip in range(len(all_steps) + 1):
        assert [contents(step) for step in plan.epoch(2, skip=skip)] == all_steps[skip:]


def test_windows_are_cut_elsewhere_in_another_epoch():
    """So that over the epochs every event is seen with a full window before it."""
    plan = WindowPlan(sequences([100]), 10, 10, 0)
    cuts = {
        frozenset(row.items[0, 0].item() for step in plan.epoch(epoch) for row in step.rows)
        for epoch in range(30)
    }
    assert len(cuts) > 5


@pytest.mark.parametrize("make", PLANS)
def test_histories_too_short_for_a_target_give_no_step(make):
    plan = make(sequences([0, 1, 1, 0]), 4, 8, 0)
    assert plan.steps(0) == 0
    assert list(plan.epoch(0)) == []


def test_prefix_steps_are_shuffled_but_once_to_be_counted(monkeypatch):
    """Training counts the steps of all epochs before it begins, and of each again when it comes."""
    plan, shuffled = PrefixPlan(sequences([3, 60, 33, 7]), 20, 100, 0), []
    original = prefixes.greedy_bounds

    def watched(lengths, capacity):
        shuffled.append(len(lengths))
        return original(lengths, capacity)

    monkeypatch.setattr(prefixes, "greedy_bounds", watched)
    counts = [plan.steps(epoch) for epoch in range(5)]
    assert len(shuffled) == 5
    assert [plan.steps(epoch) for epoch in range(5)] == counts
    assert len(shuffled) == 5
    assert counts == [len(list(plan.epoch(epoch))) for epoch in range(5)]


def test_prefix_steps_are_full():
    """All but the last lack less than one prefix."""
    steps = list(PrefixPlan(sequences([60] * 40), 50, 500, 0).epoch(0))
    assert all(450 < sum(len(row.items) for row in step.rows) <= 500 for step in steps[:-1])


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), rows=st.integers(1, 5))
def test_dealt_lengths_are_all_there_in_rows_of_about_equal_sum(lengths, rows):
    hands = dealt(np.array(lengths), rows)
    assert sorted(np.concatenate(hands).tolist()) == list(range(len(lengths)))
    assert all(len(hand) for hand in hands)
    sizes = [sum(lengths[i] for i in hand) for hand in hands]
    assert max(sizes) - min(sizes) <= max(lengths)


def test_a_prefix_at_the_very_end_of_the_log_reads_nothing_beyond_it():
    log = TrainingSequences(np.arange(1, 6, dtype=np.int32), np.array([0]), np.array([5]))
    step = PrefixStep(log, np.array([0, 0]), np.array([0, 3]), np.array([4, 1]))
    assert step.items.tolist() == [[1, 2, 3, 4], [4, 0, 0, 0]]
    assert step.targets.tolist() == [5, 5]


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), max_size=40), capacity=st.integers(1, 50))
def test_bounds_cut_into_the_longest_runs_that_fit(lengths, capacity):
    found = greedy_bounds(np.array(lengths, np.int64), capacity).tolist()
    assert found[0] == 0
    assert found[-1] == len(lengths)
    for low, high in pairwise(found):
        assert low < high
        assert sum(lengths[low:high]) <= capacity or high - low == 1
        if high < len(lengths):
            assert sum(lengths[low : high + 1]) > capacity
