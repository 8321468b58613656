"""The Markov chain by hand and by brute force."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np

from grela.data.histories import HistoryBatch
from grela.evaluation.floors.markov import MarkovChain
from small_splits import make_split, random_split, training_lists


def scores_after(floor: MarkovChain, *history: int) -> np.ndarray:
    return floor.scores(HistoryBatch.of([np.array(history, np.int32)]))[0]


def test_probabilities_by_hand():
    floor = MarkovChain.fit(make_split([[1, 2, 1, 2, 3], [1, 1], [4]], num_items=5))
    popularity = np.array([4, 2, 1, 1, 0]) / 8
    # After 1: twice 2, once 1. Three transitions, two kinds.
    np.testing.assert_allclose(
        scores_after(floor, 3, 1), (np.array([1, 2, 0, 0, 0]) + 2 * popularity) / 5, rtol=1e-12
    )
    np.testing.assert_allclose(
        scores_after(floor, 2), (np.array([1, 0, 1, 0, 0]) + 2 * popularity) / 4, rtol=1e-12
    )
    # Nothing follows 3 and 4, 5 never occurs, and nobody has nothing.
    for history in ((3,), (1, 4), (5,), ()):
        np.testing.assert_allclose(scores_after(floor, *history), popularity, rtol=1e-12)


def test_equals_brute_force():
    split = random_split(np.random.default_rng(3), users=50, num_items=17, longest=12)
    lists = training_lists(split)
    events = Counter(item for history in lists for item in history)
    together = Counter(pair for history in lists for pair in pairwise(history))
    floor = MarkovChain.fit(split)
    for last in range(1, 18):
        after = {j: n for (i, j), n in together.items() if i == last}
        kinds, total = len(after), sum(after.values())
        expected = []
        for j in range(1, 18):
            share = Fraction(events[j], events.total())
            expected.append(
                float((after.get(j, 0) + kinds * share) / (total + kinds)) if total else float(share)
            )
        found = scores_after(floor, 7, last)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert abs(found.sum() - 1) < 1e-12


def test_one_users_last_item_is_not_followed_by_the_next_users_first():
    floor = MarkovChain.fit(make_split([[1, 2], [], [3, 1]], num_items=3))
    assert scores_after(floor, 2).tolist() == [2 / 4, 1 / 4, 1 / 4]
