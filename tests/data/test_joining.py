"""A run's events and new ones: each once, whatever the new log repeats."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from grela.data.events import read_events
from grela.data.joining import joined
from grela.data.preparation import prepare
from grela.errors import ValueInDataError

Row = tuple


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")


def histories(rows: list[Row]):
    return prepare(read_events(frame(rows)))[0]


def rows_of(both) -> list[Row]:
    return [tuple(row.values()) for row in both.events.table().to_pylist()]


OLD = [("a", 7, 1), ("a", 8, 2), ("a", 8, 2), ("b", 7, 5)]
NEW = [("a", 9, 3), ("c", 7, 4), ("b", 7, 6), ("b", 8, 5)]


def test_new_events_follow_the_runs():
    both = joined(histories(OLD), read_events(frame(NEW)), name="run")
    assert rows_of(both) == OLD + NEW
    assert (both.new, both.repeated) == (4, 0)
    assert both.events.name == "run and data frame"


@pytest.mark.parametrize("order", [1, -1])
def test_the_whole_log_again_counts_once(order):
    both = joined(histories(OLD), read_events(frame((OLD + NEW)[::order])), name="run")
    assert Counter(rows_of(both)) == Counter(OLD + NEW)
    assert (both.new, both.repeated) == (4, 4)


def test_of_events_alike_the_larger_number_counts():
    more = [("a", 8, 2)] * 3 + [("b", 7, 5)]
    both = joined(histories(OLD), read_events(frame(more)), name="run")
    assert Counter(rows_of(both)) == Counter(OLD) | Counter(more)
    assert (both.new, both.repeated) == (1, 3)


def test_it_is_the_union_of_multisets_whatever_the_logs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        old, new = (
            [(f"u{u}", int(i), int(t)) for u, i, t in rng.integers(0, 4, (n, 3))]
            for n in rng.integers(1, 60, 2)
        )
        both = joined(histories(old), read_events(frame(new)), name="run")
        assert Counter(rows_of(both)) == Counter(old) | Counter(new)


def test_ids_that_look_like_integers_are_the_runs_texts():
    old = [("007", "x7", 1), ("12", "12", 2)]
    both = joined(histories(old), read_events(frame([(12, 12, 2), (12, 13, 3)])), name="run")
    assert rows_of(both) == [*old, ("12", "13", 3)]


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ([("a", "x", 1)], "has item ids that are no integers, but those of runs/a are"),
        ([("a", 7, "2024-05-01")], "has dates as times, but runs/a has numbers"),
    ],
)
def test_logs_of_another_kind_are_refused(new, message):
    with pytest.raises(ValueInDataError, match=message):
        joined(histories(OLD), read_events(frame(new)), name="runs/a")


def test_whole_and_real_times_are_real():
    both = joined(histories(OLD), read_events(frame([("a", 8, 2.0), ("a", 8, 2.5)])), name="run")
    assert rows_of(both) == [*((u, i, float(t)) for u, i, t in OLD), ("a", 8, 2.5)]
