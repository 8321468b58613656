"""Own frequency by hand: counts, then recency, then the popularity of the rest."""

from collections import Counter

import numpy as np

from grela.data.histories import HistoryBatch
from grela.evaluation.floors.own_frequency import OwnFrequency
from small_splits import make_split, random_split, training_lists


def ranking(floor: OwnFrequency, *history: int) -> list[int]:
    scores = floor.scores(HistoryBatch.of([np.array(history, np.int32)]))[0]
    assert len(np.unique(scores)) == len(scores), "a tie"
    return (np.argsort(-scores) + 1).tolist()


def test_the_most_frequent_come_first_and_of_them_the_most_recent():
    floor = OwnFrequency.fit(make_split([[5, 5, 5, 5], [6, 6, 6], [4, 4], [1]], num_items=6))
    # 2 and 3 both twice, 3 later; 1 once; then 5, 6 and 4 by popularity.
    assert ranking(floor, 2, 3, 2, 1, 3) == [3, 2, 1, 5, 6, 4]
    assert ranking(floor, 3, 3, 2, 1, 2) == [2, 3, 1, 5, 6, 4]
    assert ranking(floor, 4, 1, 2, 3) == [3, 2, 1, 4, 5, 6]


def test_equals_a_sort_by_count_place_and_popularity():
    split = random_split(np.random.default_rng(6), users=60, num_items=9, longest=30)
    floor = OwnFrequency.fit(split)
    events = Counter(item for history in training_lists(split) for item in history)
    for history in training_lists(split):
        own = Counter(history)
        last = {item: place for place, item in enumerate(history, start=1)}
        scores = floor.scores(HistoryBatch.of([np.array(history, np.int32)]))[0]
        keys = [(own[i], last.get(i, 0), 0 if i in own else events[i]) for i in range(1, 10)]
        for a in range(9):
            for b in range(9):
                assert (keys[a] < keys[b]) == (scores[a] < scores[b]), (history, a + 1, b + 1)


def test_a_history_of_a_million_events_still_breaks_ties_by_recency():
    history = np.tile(np.array([1, 2], np.int32), 500_000)
    scores = OwnFrequency.fit(make_split([[3]], num_items=3)).scores(HistoryBatch.of([history]))[0]
    assert scores[1] > scores[0] > scores[2]
