"""Burstiness on times that are understood, groups of equal length, and differences that are there or not."""

import numpy as np
import pytest
from burstiness import (
    burstiness,
    differences,
    matched_terciles,
    means,
    standardised,
    terciles,
)

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("events", [3, 4, 11, 200])
def test_even_gaps_have_minus_one_and_a_single_pause_one_whatever_their_number(events):
    assert burstiness(np.arange(events) * 7) == pytest.approx(-1)
    assert burstiness(np.append(np.zeros(events - 1), 5)) == pytest.approx(1)


@pytest.mark.parametrize("events", [12, 200])
def test_events_that_know_nothing_of_one_another_have_none(events):
    found = [burstiness(np.sort(RNG.random(events))) for _ in range(400)]
    assert np.mean(found) == pytest.approx(0, abs=0.05)


def test_for_many_events_it_is_goh_and_barabasis():
    gaps = RNG.pareto(2.5, 100_000)
    plain = (gaps.std() - gaps.mean()) / (gaps.std() + gaps.mean())
    assert burstiness(np.cumsum(np.append(0, gaps))) == pytest.approx(plain, abs=0.01)


def test_the_unit_of_time_and_its_origin_do_not_matter():
    times = np.sort(RNG.integers(0, 10**6, 30))
    assert burstiness(times) == pytest.approx(burstiness(1_600_000_000_000_000 + 1_000 * times), rel=1e-9)


@pytest.mark.parametrize("times", [[], [5], [5, 9], [4, 4, 4]])
def test_too_few_gaps_or_no_time_tell_nothing(times):
    assert np.isnan(burstiness(np.array(times)))


def test_terciles_are_the_ends():
    groups = terciles(np.array([5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 0.0]))
    assert groups.steady.tolist() == [1, 6]
    assert groups.bursty.tolist() == [0, 5]


def test_matched_terciles_are_equally_long_where_the_plain_ones_are_not():
    lengths = RNG.integers(10, 200, 3_000)
    values = lengths / 200 + RNG.random(3_000)
    plain, matched = terciles(values), matched_terciles(values, lengths, 5)
    assert lengths[plain.bursty].mean() - lengths[plain.steady].mean() > 50
    assert abs(lengths[matched.bursty].mean() - lengths[matched.steady].mean()) < 10
    assert values[matched.bursty].mean() - values[matched.steady].mean() > 0.5
    assert len(matched.steady) == len(matched.bursty) == 1_000
    assert not set(matched.steady) & set(matched.bursty)


def test_a_difference_that_is_there_is_found_and_another_is_not():
    values = RNG.standard_normal((900, 2))
    groups = terciles(RNG.random(900))
    values[groups.bursty, 0] += 0.5
    there, absent = differences(values, groups, seed=0)
    expected = values[groups.bursty].mean(0) - values[groups.steady].mean(0)
    assert (there.value, absent.value) == pytest.approx(expected)
    assert there.low < there.value < there.high
    assert (there.sign, absent.sign) == (1, 0)
    # A difference of two means of 300 has a standard error of .08; 97.5 % for each of two lie 2.24 of them away.
    assert there.high - there.low == pytest.approx(2 * 2.24 * (2 / 300) ** 0.5, rel=0.15)


def test_intervals_of_many_columns_are_wider_for_they_hold_together():
    values = RNG.standard_normal((400, 1))
    (alone,), (among, *_) = means(values, seed=0), means(np.repeat(values, 20, axis=1), seed=0)
    assert (alone.value, among.value) == pytest.approx((values.mean(),) * 2)
    assert 1.3 < (among.high - among.low) / (alone.high - alone.low) < 1.8


def test_standardised_values_have_unit_spread_and_a_constant_stays_nothing():
    values = np.stack([RNG.random(50) * 9 + 4, np.full(50, 7.0)], 1)
    found = standardised(values)
    assert found.std(0) == pytest.approx([1, 0])
    assert found.mean(0) == pytest.approx([0, 0])
