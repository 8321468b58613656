"""The table of items met holds what a dictionary would, and finds it in constant time."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.serving.met import _MULTIPLIER, MetItems, _shift

histories = st.lists(st.integers(1, 2**31 - 1) | st.integers(1, 40), max_size=120)


def plainly(history: list[int]) -> dict[int, tuple[int, int]]:
    """Each item's count and last place."""
    return {item: (history.count(item), len(history) - 1 - history[::-1].index(item)) for item in history}


def found(met: MetItems) -> dict[int, tuple[int, int]]:
    entries = met.entries().tolist()
    assert len(entries) == len(met)
    return {item: (count, last) for item, count, last in entries}


def displacements(met: MetItems) -> np.ndarray:
    """How far behind the place of its hash each item lies."""
    places = np.flatnonzero(met.table[:, 0])
    hashes = (met.table[places, 0].astype(np.int64) * _MULTIPLIER & 0xFFFFFFFF) >> _shift(len(met.table))
    return (places - hashes) % len(met.table)


@settings(deadline=None)
@given(histories, st.lists(st.integers(0, 120), max_size=4))
def test_it_counts_items_and_knows_their_last_places_however_they_came(history, cuts):
    met, bounds = MetItems(), sorted({0, len(history), *(min(cut, len(history)) for cut in cuts)})
    for low, high in pairwise(bounds):
        met.add(np.array(history[low:high], np.int32), low)
    assert found(met) == plainly(history)
    assert found(MetItems.of(np.array(history, np.int32))) == plainly(history)
    assert found(MetItems.from_entries(met.entries())) == plainly(history)


@settings(deadline=None)
@given(histories)
def test_every_item_can_be_found_again(history):
    """Also in a table that was filled all at once, where no search may end at a gap."""
    met = MetItems.of(np.array(history, np.int32))
    met.add(np.array(history, np.int32), len(history))
    twice = {item: (2 * count, last + len(history)) for item, (count, last) in plainly(history).items()}
    assert found(met) == twice


def test_a_copy_is_of_its_own():
    met = MetItems.of(np.array([3, 4, 3], np.int32))
    other = met.copy()
    other.add(np.array([5], np.int32), 3)
    assert found(met) == {3: (2, 2), 4: (1, 1)}
    assert found(other)[5] == (1, 3)


@pytest.mark.parametrize("items", [1, 8, 9, 1_000, 3_400, 50_000])
def test_its_size_is_bounded_by_the_items_met(items):
    one_by_one = MetItems()
    for low in range(0, items, 500):
        one_by_one.add(np.arange(low + 1, min(low + 500, items) + 1, dtype=np.int32), low)
    for met in (one_by_one, MetItems.of(np.arange(1, items + 1, dtype=np.int32))):
        assert 2 * items <= len(met.table) < max(17, 4 * items)


@pytest.mark.parametrize("drawn", ["ascending", "random", "every 1,024th"])
def test_a_search_takes_as_many_looks_however_many_items_were_met(drawn):
    """About half a step behind the hash in a table half full (Knuth), where it is not luckier."""
    rng = np.random.default_rng(0)
    for items in (50, 500, 5_000, 50_000):
        ids = {
            "ascending": np.arange(1, items + 1),
            "random": rng.choice(2**31 - 1, items, replace=False) + 1,
            "every 1,024th": 1_024 * np.arange(1, items + 1),
        }[drawn]
        behind = displacements(MetItems.of(ids.astype(np.int32)))
        assert behind.mean() < 1
        assert behind.max() < 64
