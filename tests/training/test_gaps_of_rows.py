"""A row's gaps are the log's: of a window's first event too, which has one unless its history begins there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.ops.gaps import UNKNOWN, gap_buckets
from grela.training import prefixes, streams, windows
from grela.training.prefixes import PrefixPlan, PrefixStep
from grela.training.sequences import TrainingSequences
from grela.training.streams import StreamPlan
from grela.training.windows import PackedRow, WindowPlan

PLANS = [WindowPlan, StreamPlan, PrefixPlan]


def sequences(lengths: list[int], *, gaps: bool = True) -> TrainingSequences:
    """Item ids are places in the log counted from 1; the gaps are those of random times."""
    end = np.cumsum(lengths).astype(np.int64)
    times = np.cumsum(2 ** np.random.default_rng(0).integers(0, 30, end[-1]))
    buckets = gap_buckets(times, end - lengths) if gaps else None
    return TrainingSequences(np.arange(1, end[-1] + 1, dtype=np.int32), end - lengths, end, buckets)


@pytest.fixture(autouse=True)
def _small_rows():
    with pytest.MonkeyPatch.context() as patch:
        for module in (windows, streams, prefixes):
            patch.setattr(module, "LEAST_POSITIONS", 5)
        yield


@pytest.mark.parametrize("make", PLANS)
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12), extra=st.integers(0, 30))
def test_events_and_targets_of_every_plan_have_the_gaps_of_the_log(make, lengths, extra):
    s = sequences(lengths)
    log = torch.from_numpy(s.gaps).long()
    for row in (row for step in make(s, 7, 7 + extra, 3).epoch(1) for row in step.rows):
        assert torch.equal(row.gaps, log[row.items - 1])
        assert torch.equal(row.next_gaps, log[row.targets - 1])


def test_a_window_amid_a_history_begins_with_a_known_gap():
    s, begun = sequences([100]), []
    for step in WindowPlan(s, 10, 10, 0).epoch(0):
        for row in step.rows:
            first = row.positions[0] == 0
            begun += zip(row.items[0][first].tolist(), row.gaps[0][first].tolist(), strict=True)
    assert len(begun) > 5
    assert {item for item, gap in begun if gap == UNKNOWN} == {1}


def test_rows_joined_and_prefixes_padded_keep_their_gaps():
    s = sequences([5, 90, 33, 7])
    log = torch.from_numpy(s.gaps).long()
    step = next(WindowPlan(s, 9, 40, 3).epoch(0))
    assert len(step.rows) > 1
    joined = PackedRow.joined(step.rows)
    assert torch.equal(joined.gaps, log[joined.items - 1])
    assert torch.equal(joined.next_gaps, log[joined.targets - 1])
    padded = PrefixStep(s, np.array([0, 5]), np.array([1, 10]), np.array([3, 9]))
    there = padded.items > 0
    assert torch.equal(padded.gaps[there], log[padded.items[there] - 1])
    assert torch.equal(padded.next_gaps, log[padded.targets - 1])


@pytest.mark.parametrize("make", PLANS)
def test_a_log_without_gaps_gives_rows_without(make):
    for row in (row for step in make(sequences([9, 30], gaps=False), 7, 20, 3).epoch(0) for row in step.rows):
        assert row.gaps is None
        assert row.next_gaps is None
    step = next(WindowPlan(sequences([9, 30], gaps=False), 7, 30, 3).epoch(0))
    assert PackedRow.joined(step.rows).gaps is None
