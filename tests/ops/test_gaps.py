"""A gap's bucket is the half-octave of its length, whatever the unit, and unknown where a time is missing."""

import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.data.histories import HistoryBatch
from grela.ops.gaps import BUCKETS, NO_TIME, TIED, UNKNOWN, gap_buckets
from reference import naive_gaps

ONE = np.array([0])


def buckets(times, dtype=np.int64) -> list[int]:
    """Of one history."""
    return gap_buckets(np.array(times, dtype), ONE).tolist()


def bucket(gap: float) -> int:
    return buckets([0, gap], np.float64)[1]


whole = st.one_of(st.integers(0, 100), st.integers(0, 2**40))
# Within a half-octave, off its borders by more than a logarithm's rounding.
fraction = st.builds(lambda n, f: 2.0 ** (n / 2) * f, st.integers(-60, 80), st.floats(1 + 1e-9, 1.414))
histories = st.lists(
    st.tuples(st.lists(whole, max_size=8), st.lists(st.booleans(), min_size=9, max_size=9)), max_size=5
)


@settings(max_examples=100, deadline=None)
@given(histories=histories)
def test_whole_times_fall_into_the_buckets_of_the_loop(histories):
    """Histories of 0 to 9 events, some of their times missing."""
    times = [
        [NO_TIME if gone else t for t, gone in zip(accumulate(gaps, initial=5), missing, strict=False)]
        for gaps, missing in histories
    ]
    times = [one[: len(gaps)] for one, (gaps, _) in zip(times, histories, strict=True)]
    lengths = np.array([len(one) for one in times], np.int64)
    flat = np.array([t for one in times for t in one], np.int64)
    found = gap_buckets(flat, np.cumsum(lengths) - lengths)
    assert found.dtype == np.uint8
    assert found.tolist() == [b for one in times for b in naive_gaps.buckets(one)]


@settings(max_examples=100, deadline=None)
@given(gap=fraction)
def test_fractions_of_the_unit_fall_into_the_buckets_of_the_loop(gap):
    assert buckets([0.0, gap, math.nan], np.float64) == naive_gaps.buckets([0.0, gap, math.nan])


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_two_buckets_are_an_octave(dtype):
    """The first whole number of each half-octave, and the last of the one before."""
    octaves = [bucket(2**n) for n in range(60)]
    assert np.diff(octaves).tolist() == [2] * 59
    for n in range(2, 40):
        middle = (
            math.isqrt(2 ** (2 * n + 1)) + 1
        )  # the least whole number above the square root of 2 times 2^n
        below, first, last, half = (buckets([0, g], dtype)[1] for g in (2**n - 1, 2**n, middle - 1, middle))
        assert (below + 1, first, last, half) == (first, last, half - 1, first + 1)


def test_a_longer_gap_is_never_in_a_lower_bucket():
    gaps = np.sort(np.random.default_rng(0).lognormal(5, 20, 10_000))
    found = np.array([bucket(0.0), *gap_buckets(np.repeat(gaps, 2) * np.tile([0, 1], 10_000), ONE)[1::2]])
    assert (np.diff(found.astype(int)) >= 0).all()
    assert found[1] > TIED
    assert found[-1] == BUCKETS - 1


@settings(max_examples=50, deadline=None)
@given(gaps=st.lists(st.integers(1, 10**6), min_size=1, max_size=8), octaves=st.integers(-10, 10))
def test_another_unit_moves_all_buckets_alike(gaps, octaves):
    times = np.array([0, *np.cumsum(gaps)], np.float64)
    found, other = gap_buckets(times, ONE)[1:], gap_buckets(times * 2.0**octaves, ONE)[1:]
    assert (other.astype(int) - found).tolist() == [2 * octaves] * len(gaps)


def test_first_events_and_missing_times_are_unknown_and_equal_times_tied():
    nan = math.nan
    assert buckets([7]) == [UNKNOWN]
    assert buckets([]) == []
    assert buckets([7, 7, NO_TIME, 7, 8]) == [UNKNOWN, TIED, UNKNOWN, UNKNOWN, bucket(1)]
    assert buckets([7, 7, nan, 7, 8], np.float64) == [UNKNOWN, TIED, UNKNOWN, UNKNOWN, bucket(1)]
    assert buckets([NO_TIME, NO_TIME]) == [UNKNOWN] * 2
    starts = np.array([0, 2, 2, 4])  # the third history ends, and the last begins, where the log does
    assert gap_buckets(np.array([1, 2, 9, 9]), starts).tolist() == [UNKNOWN, bucket(1), UNKNOWN, TIED]


def test_the_shortest_and_the_longest_gaps_share_the_outer_buckets():
    assert bucket(1e-300) == bucket(2.0**-20) == TIED + 1
    assert buckets([-(2**62), 2**62 - 1])[1] == BUCKETS - 1
    assert bucket(1e300) == bucket(2.0**63) == BUCKETS - 1


def test_a_batch_has_the_gaps_of_its_histories_in_their_order():
    times = [np.array([5, 6, 10]), np.array([], np.int64), np.array([1, 1])]
    batch = HistoryBatch.of([np.ones(len(t), np.int32) for t in times], times)
    assert batch.gaps.tolist() == [UNKNOWN, bucket(1), bucket(4), UNKNOWN, TIED]
    assert batch.take(np.array([2, 0])).gaps.tolist() == [UNKNOWN, TIED, UNKNOWN, bucket(1), bucket(4)]
    assert batch.take(np.array([1])).gaps.tolist() == []
