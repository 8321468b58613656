from collections import Counter

import numpy as np
import pytest
from event_logs import Row, core, in_order, log, logs, without_repeats
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.data.histories import Histories
from grela.data.preparation import Preparation, prepare
from grela.errors import EmptyDataError


def sequences(histories: Histories) -> dict[str | int, list[str | int]]:
    users = histories.users.decode(np.arange(len(histories)))
    return {raw: histories.catalogue.decode(histories[user]) for user, raw in enumerate(users)}


def expected(rows: list[Row]) -> dict[str | int, list[str | int]]:
    return {user: [row[1] for row in history] for user, history in in_order(rows).items()}


@settings(max_examples=30, deadline=None)
@given(rows=logs(max_size=60), least_user=st.integers(1, 5), least_item=st.integers(1, 5))
def test_the_core_equals_dropping_one_by_one(rows: list[Row], least_user: int, least_item: int) -> None:
    least = {"min_user_events": least_user, "min_item_events": least_item}
    left = core(rows, **least)
    if not left:
        with pytest.raises(EmptyDataError, match="k-core"):
            prepare(log(rows), Preparation(**least))
        return
    histories, report = prepare(log(rows), Preparation(**least))
    assert sequences(histories) == expected(left)
    assert histories.lengths.min() >= least_user
    assert np.bincount(histories.items, minlength=histories.num_items + 1)[1:].min() >= least_item
    assert report.kept.events == len(left)


def test_the_core_needs_as_many_rounds_as_the_chain_is_long() -> None:
    block: list[Row] = [(f"block {u}", f"block {i}", 0) for u in range(2) for i in range(2)]
    chain: list[Row] = [(f"u{n}", f"i{n + step}", 0) for n in range(20) for step in (0, 1)]
    histories, report = prepare(log(block + chain), Preparation(min_user_events=2, min_item_events=2))
    assert report.kept.events == 4
    assert len(histories) == 2
    # One end of the chain goes in the first round; each item that goes takes a user and the next item with it.
    assert report.steps[0].detail.endswith("rounds 11")


@settings(max_examples=20, deadline=None)
@given(rows=logs(), repeats=st.sampled_from(["keep", "drop_consecutive", "first"]))
def test_repeats_are_dropped_in_order_of_time_and_row(rows: list[Row], repeats: str) -> None:
    histories, report = prepare(log(rows), Preparation(repeats=repeats))  # type: ignore[arg-type]
    assert sequences(histories) == expected(without_repeats(rows, repeats))
    assert len(report.steps) == (repeats != "keep")


def test_repeats_are_kept_by_default() -> None:
    histories, _ = prepare(log([("u", "a", 1), ("u", "a", 1), ("u", "b", 2), ("u", "a", 3)]))
    assert sequences(histories) == {"u": ["a", "a", "b", "a"]}


def test_the_core_counts_what_is_left_of_repeats() -> None:
    rows: list[Row] = [("u", "a", 1), ("u", "a", 2), ("v", "a", 1), ("v", "b", 2)]
    histories, _ = prepare(log(rows), Preparation(repeats="first", min_user_events=2))
    assert sequences(histories) == {"v": ["a", "b"]}


def test_dense_ids_have_no_gaps_after_filtering() -> None:
    rows: list[Row] = [(u, i, 0) for u in range(10) for i in range(10) if (u + i) % 3]
    rows += [(100, 50, 0), (5, 7, 1), (-1, 3, 0)]
    histories, _ = prepare(log(rows), Preparation(min_user_events=5, min_item_events=5))
    assert sorted(Counter(histories.items.tolist())) == list(range(1, histories.num_items + 1))
    assert histories.users.ids.to_pylist() == list(range(10))
