"""Coverage, novelty and popularity bias, and metrics by length of history, by hand."""

import json
import math

import numpy as np
import pytest
from evaluation_cases import counts_for, make_cases, random_cases, table_for

from grela.data.histories import HistoryBatch
from grela.evaluation.beyond_accuracy import coverage, novelty, popularity_bias
from grela.evaluation.evaluate import evaluate
from grela.evaluation.metrics import ndcg
from grela.evaluation.popularity import Popularity
from grela.evaluation.train_counts import count_events

COUNTS = np.array([0, 8, 4, 2, 2, 0])
EMPTY = np.zeros(0, np.int32)


def test_coverage_is_the_share_of_the_catalogue_in_any_list():
    assert coverage(np.array([[1, 2], [2, 0]]), num_items=5) == 2 / 5


def test_novelty_is_the_mean_self_information_of_the_lists():
    lists = np.array([[1, 2], [3, 0], [5, 0], [0, 0]])
    # Item 5 has no event and counts as one with a single event; the empty list is left out.
    assert novelty(lists, COUNTS).value == pytest.approx(((1 + 2) / 2 + 3 + 4) / 3)


def test_popularity_bias_is_the_lift_of_lists_over_histories():
    histories = HistoryBatch.of([np.array([3, 4, 3]), np.array([2]), EMPTY])
    lists = np.array([[1, 2], [2, 0], [1, 1]])
    # GAP of lists (6 + 4) / 2, of histories (2 + 4) / 2; the user without a history is left out.
    assert popularity_bias(lists, histories, COUNTS).value == pytest.approx(5 / 3 - 1)


def test_popularity_bias_is_undefined_without_any_history():
    cases = make_cases([[], []], [[1], [2]], num_items=4)
    found = evaluate(Popularity(np.array([0, 3, 2, 1, 0])), cases, train_counts=np.array([0, 3, 2, 1, 0]))
    assert math.isnan(found.filtered["popularity_bias@10"])
    assert found.to_json()["filtered"]["popularity_bias@10"] is None
    assert found.to_json()["intervals"]["filtered"]["popularity_bias@10"] == [None, None]


def test_popularity_recommends_the_most_frequent_items_to_everybody():
    cases = make_cases([[1, 1, 2], [1, 2, 3]], [[3], [4]], num_items=5)
    counts = count_events(cases.batch, 5)
    assert counts.tolist() == [0, 3, 2, 1, 0, 0]
    found = evaluate(Popularity(counts), cases, train_counts=counts, lists_k=2)
    assert found.ranks_unfiltered.values.tolist() == [3, 5]
    assert found.ranks_filtered.values.tolist() == [1, 2]
    assert found.unfiltered["coverage@2"] == 2 / 5
    assert found.unfiltered["popularity_bias@2"] > 0


def test_buckets_of_history_length_hold_each_user_once_and_leave_out_empty_ones():
    rng = np.random.default_rng(1)
    lengths = [0, 1, 20, 20, 21, 101, 200, 500, 501, 900]
    histories = [rng.integers(1, 31, length).tolist() for length in lengths]
    cases = make_cases(histories, [[7]] * len(lengths), num_items=30)
    scorer = table_for(cases, rng.standard_normal((len(lengths), 30)))
    found = evaluate(scorer, cases, train_counts=counts_for(cases, rng), resamples=20)
    assert [(b.label, b.users) for b in found.by_history_length] == [
        ("0", 1),
        ("1–20", 3),
        ("21–50", 1),
        ("101–200", 2),
        ("201–500", 1),
        ("501+", 2),
    ]
    per_user = ndcg(found.ranks_unfiltered, 10)
    assert found.by_history_length[1].unfiltered["ndcg@10"] == pytest.approx(per_user[1:4].mean())
    assert found.history_lengths.tolist() == lengths


def test_buckets_weighted_by_their_users_give_the_overall_figure():
    rng = np.random.default_rng(2)
    cases = random_cases(rng, users=120, num_items=40, longest=150, most_targets=2)
    scorer = table_for(cases, rng.standard_normal((120, 40)))
    found = evaluate(scorer, cases, train_counts=counts_for(cases, rng), resamples=100)
    for view, overall in (("filtered", found.filtered), ("unfiltered", found.unfiltered)):
        for metric in ("hr@10", "ndcg@10"):
            total = sum(b.users * getattr(b, view)[metric] for b in found.by_history_length)
            assert total / 120 == pytest.approx(overall[metric])
            for bucket in found.by_history_length:
                low, high = bucket.intervals[view][metric]
                assert low <= getattr(bucket, view)[metric] <= high


def test_json_says_how_it_was_measured_and_holds_no_numpy():
    rng = np.random.default_rng(3)
    cases = random_cases(rng, users=9, num_items=20, longest=30, most_targets=1)
    scorer = table_for(cases, rng.standard_normal((9, 20)))
    found = evaluate(scorer, cases, train_counts=counts_for(cases, rng), resamples=30).to_json()
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert found["users"] == 9
    assert "ties count against the model" in found["tie_rule"]
    assert "no sampled negatives" in found["protocol"]
    assert set(found["filtered"]) == set(found["unfiltered"])
    assert set(found["filtered"]) - set(found["intervals"]["filtered"]) == {"coverage@10"}
    low, high = found["intervals"]["unfiltered"]["novelty@10"]
    assert low <= found["unfiltered"]["novelty@10"] <= high
