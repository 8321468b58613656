"""Laws of the ranks and of the lists."""

import numpy as np
import pytest
from evaluation_cases import counts_for, make_cases, random_cases, table_for

from grela.evaluation import metrics
from grela.evaluation.evaluate import evaluate
from grela.evaluation.lists import top_items, top_unseen_items
from grela.evaluation.ranks import Ranks, rank_targets

NOTHING_SEEN = np.zeros(5, bool)


def seen(*items: int) -> np.ndarray:
    mask = NOTHING_SEEN.copy()
    mask[np.array(items) - 1] = True
    return mask


def test_ties_count_against_the_model():
    constant = np.zeros(5)
    unfiltered, filtered = rank_targets(constant, np.array([2]), seen(1, 4))
    assert unfiltered.tolist() == [5]
    assert filtered.tolist() == [3]


def test_a_model_that_says_the_same_of_all_items_never_hits():
    cases = make_cases([[1], [2]], [[3], [4]], num_items=40)
    counts = np.array([0, *[1] * 40])
    found = evaluate(table_for(cases, np.zeros((2, 40))), cases, train_counts=counts)
    assert found.filtered["hr@20"] == found.unfiltered["hr@20"] == 0
    assert found.filtered["mrr"] == pytest.approx(1 / 39)


def test_tied_targets_take_consecutive_ranks_behind_tied_others():
    scores = np.array([7.0, 5.0, 5.0, 5.0, 1.0])
    unfiltered, _ = rank_targets(scores, np.array([2, 4]), NOTHING_SEEN)
    assert unfiltered.tolist() == [3, 4]


def test_filtered_rank_skips_seen_items_in_front_and_tied_ones():
    scores = np.array([9.0, 8.0, 7.0, 7.0, 1.0])
    unfiltered, filtered = rank_targets(scores, np.array([3]), seen(1, 4, 5))
    assert unfiltered.tolist() == [4]
    assert filtered.tolist() == [2]


def test_a_seen_target_is_a_miss_when_seen_items_are_filtered_and_takes_no_place():
    scores = np.array([9.0, 8.0, 7.0, 6.0, 5.0])
    unfiltered, filtered = rank_targets(scores, np.array([1, 3]), seen(1))
    assert unfiltered.tolist() == [1, 3]
    assert filtered.tolist() == [2, np.inf]


def test_minus_infinity_ranks_last_among_equals():
    scores = np.array([0.0, -np.inf, -np.inf, 1.0, 2.0])
    unfiltered, filtered = rank_targets(scores, np.array([2]), seen(3, 4))
    assert unfiltered.tolist() == [5]
    assert filtered.tolist() == [3]


def test_targets_already_seen_are_counted_and_stay_in_the_denominator_of_recall():
    cases = make_cases([[1, 2], [3]], [[1, 4, 4], [5]], num_items=5)
    table = np.array([[1.0, 2, 3, 9, 4], [1.0, 2, 3, 4, 9]])
    found = evaluate(table_for(cases, table), cases, train_counts=np.array([0, 1, 1, 1, 0, 0]), ks=(1,))
    assert (found.targets, found.targets_already_seen) == (3, 1)
    assert found.filtered["recall@1"] == pytest.approx((1 / 2 + 1) / 2)


def test_metrics_by_hand():
    ranks = Ranks.of([np.array([1.0, 4, np.inf]), np.array([3.0])])
    discount = 1 / np.log2([2, 3, 4, 5])
    assert metrics.hit_rate(ranks, 2).tolist() == [1, 0]
    assert metrics.recall(ranks, 4) == pytest.approx([2 / 3, 1])
    assert metrics.precision(ranks, 4) == pytest.approx([2 / 4, 1 / 4])
    assert metrics.reciprocal_rank(ranks) == pytest.approx([1, 1 / 3])
    assert metrics.reciprocal_rank_at(ranks, 2) == pytest.approx([1, 0])
    assert metrics.ndcg(ranks, 4) == pytest.approx(
        [(discount[0] + discount[3]) / discount[:3].sum(), discount[2]]
    )
    assert metrics.ndcg(ranks, 2) == pytest.approx([discount[0] / discount[:2].sum(), 0])


def test_a_miss_is_worth_nothing_in_every_metric():
    values = metrics.per_user(Ranks.of([np.array([np.inf])]), (1, 1000))
    assert set(np.concatenate(list(values.values()))) == {0.0}


def test_lists_break_ties_by_item_id_and_leave_out_seen_items():
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0], np.float32)
    assert top_items(scores, 3).tolist() == [2, 4, 3]
    assert top_items(scores, 9).tolist() == [2, 4, 3, 5, 1]
    assert top_unseen_items(scores, seen(2, 3), 2).tolist() == [4, 5]
    assert top_unseen_items(scores, seen(1, 2, 3, 4, 5), 2).tolist() == []


def test_lists_of_a_view_never_hold_what_could_not_be_recommended():
    # The seen item 1 and the unseen item 2 both score -inf: only the unseen one may fill the list.
    scores = np.array([-np.inf, -np.inf, 0, 1, 2])
    assert top_unseen_items(scores, seen(1, 3), 3).tolist() == [5, 4, 2]


@pytest.mark.parametrize("scores_bytes", [1, 8 * 23 * 2, 8 * 23 * 7, 10**9])
def test_the_size_of_the_blocks_does_not_matter(scores_bytes):
    rng = np.random.default_rng(3)
    cases = random_cases(rng, users=19, num_items=23, longest=30, most_targets=3)
    scorer = table_for(cases, rng.integers(0, 6, (19, 23)).astype(np.float32))
    counts = counts_for(cases, rng)
    steps: list[tuple[int, int]] = []
    blocked = evaluate(
        scorer,
        cases,
        train_counts=counts,
        resamples=20,
        scores_bytes=scores_bytes,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert blocked.to_json() == evaluate(scorer, cases, train_counts=counts, resamples=20).to_json()
    assert steps[-1] == (19, 19)
    assert len(steps) == {1: 19, 8 * 23 * 2: 10, 8 * 23 * 7: 3, 10**9: 1}[scores_bytes]


def test_the_order_of_the_cases_does_not_matter():
    rng = np.random.default_rng(4)
    cases = random_cases(rng, users=60, num_items=17, longest=60, most_targets=2)
    scorer = table_for(cases, rng.standard_normal((60, 17)))
    counts = counts_for(cases, rng)
    straight = evaluate(scorer, cases, train_counts=counts, resamples=50)
    shuffled = evaluate(scorer, cases.take(rng.permutation(60)), train_counts=counts, resamples=50)
    assert straight.to_json() == shuffled.to_json()
    assert np.array_equal(straight.ranks_filtered.values, shuffled.ranks_filtered.values)
