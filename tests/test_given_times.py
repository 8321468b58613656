"""Histories asked for with the times of their events: in the unit of the log, in order, one for each item."""

import numpy as np
import polars as pl
import pytest

from fit_cases import dated_log, fitted, history_of, items, log, small_config, times_of
from grela import Recommender
from grela.errors import RequestError


def test_only_the_time_between_events_counts():
    history, times = history_of(103), np.array(times_of(103))
    first, later, stretched = fitted().recommend([history] * 3, times=[times, times + 10**6, times * 10])
    assert items(first) == items(later)
    scores = [[one.score for one in found.items] for found in (first, later, stretched)]
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)
    assert scores[2] != pytest.approx(scores[0], rel=1e-3)


def test_the_time_of_an_unknown_item_is_skipped_with_it():
    with_unknown, without = fitted().recommend(
        [[500, 9, 501, 502], [500, 501, 502]], times=[[0, 50, 100, 300], [0, 100, 300]]
    )
    assert with_unknown.items == without.items


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([None], "times has 1 entries for 2 of who, expected as many"),
        (7, "times is 7, expected a list of one list of times for each of who"),
        ("78", "times is '78', expected a list"),
        ([[0, 1], [0] * 12], "times has times for the user 103, whose times are known: give None there"),
        ([[0], None], "entry 0 of times has 1 times for 2 items, expected one for each"),
        ([[0, 1, 2], None], "entry 0 of times has 3 times for 2 items, expected one for each"),
        ([5, None], "entry 0 of times is 5, expected a list of times, oldest first"),
        ([[1, 0], None], "entry 0 of times goes back at place 1, from 1 to 0: give the oldest first"),
        ([[0, None], None], "entry 0 of times, place 1, is None, expected a finite number"),
        ([[0, True], None], "entry 0 of times, place 1, is True, expected a finite number"),
        ([[0, float("nan")], None], "entry 0 of times, place 1, is nan, expected a finite number"),
        ([[0, float("inf")], None], "entry 0 of times, place 1, is inf, expected a finite number"),
        ([[0, 2**62], None], "entry 0 of times, place 1, has a time beyond"),
        ([[0, "2024-05-01"], None], "is '2024-05-01', but this log's times are plain numbers"),
    ],
)
def test_times_that_make_no_sense_are_refused(times, message):
    who = [[500, 501], 103]
    with pytest.raises(RequestError, match=message):
        fitted().recommend(who, times=times)


def test_a_log_of_dates_takes_dates_and_numbers_of_its_own_unit():
    recommender = Recommender.fit(dated_log(), config=small_config(training={"epochs": 1}))
    frame = dated_log().filter(pl.col("user_id") == 103)
    history, moments = frame["item_id"].to_list(), frame["timestamp"]
    times = [[f"{moment.isoformat()}+00:00" for moment in moments], moments.dt.epoch("us").to_list(), None]
    known, by_date, by_number = recommender.recommend([103, history, history], times=[None, *times[:2]])
    assert by_date.items == by_number.items == known.items
    with pytest.raises(RequestError, match="place 0, is 'yesterday', expected an ISO 8601 date"):
        recommender.recommend([[500]], times=[["yesterday"]])


def test_a_log_of_fractions_takes_fractions():
    frame = log().with_columns(pl.col("timestamp") / 86_400)
    recommender = Recommender.fit(frame, config=small_config(training={"epochs": 1}))
    times = [None, [t / 86_400 for t in times_of(103)]]
    known, given = recommender.recommend([103, history_of(103)], times=times)
    assert known.items == given.items
