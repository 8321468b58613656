"""Item-based neighbours by brute force, their ties, and their memory."""

import tracemalloc
from math import sqrt

import numpy as np
import pytest

from grela.data.histories import HistoryBatch
from grela.errors import ConfigError
from grela.evaluation.floors.item_knn import ItemKNN
from small_splits import make_split, random_split, training_lists

ITEMS = 60


def brute_force(
    lists: list[list[int]], history: list[int], *, neighbours: int, shrinkage: float
) -> np.ndarray:
    """Scores [N] by loops over sets."""
    users = {i: {u for u, items in enumerate(lists) if i in items} for i in range(1, ITEMS + 1)}
    scores = dict.fromkeys(users, 0.0)
    for i in set(history):
        similarity = {
            j: len(users[i] & users[j]) / (sqrt(len(users[i]) * len(users[j])) + shrinkage)
            for j in users
            if j != i and users[i] & users[j]
        }
        for j in sorted(similarity, key=lambda j: (-similarity[j], j))[:neighbours]:
            scores[j] += similarity[j]
    events = [sum(items.count(i) for items in lists) for i in users]
    behind = [n / max(events) - 1 for n in events]
    return np.array([s if s > 0 else b for s, b in zip(scores.values(), behind, strict=True)])


@pytest.mark.parametrize(("neighbours", "shrinkage"), [(1, 0.0), (3, 2.5), (40, 0.0)])
def test_equals_brute_force(neighbours, shrinkage):
    split = random_split(np.random.default_rng(4), users=40, num_items=ITEMS, longest=6)
    lists = training_lists(split)
    floor = ItemKNN.fit(split, neighbours=neighbours, shrinkage=shrinkage)
    histories = [[], [3], [1, 5, 5, 2], list(range(1, ITEMS + 1)), [16, 16]]
    found = floor.scores(HistoryBatch.of([np.array(h, np.int32) for h in histories]))
    for b, history in enumerate(histories):
        expected = brute_force(lists, history, neighbours=neighbours, shrinkage=shrinkage)
        np.testing.assert_allclose(found[b], expected, rtol=1e-6, atol=1e-12)


def test_neighbours_by_hand():
    split = make_split([[1, 2, 1], [1, 2], [1, 3], [4], [4, 5]], num_items=6)
    floor = ItemKNN.fit(split, neighbours=2, shrinkage=0)
    assert floor.neighbours[1:, :].tolist() == [[2, 3], [1, 0], [1, 0], [5, 0], [4, 0], [0, 0]]
    np.testing.assert_allclose(floor.similarities[1], [2 / sqrt(6), 1 / sqrt(3)], rtol=1e-6)
    # Behind the neighbours of 4 stand the others by popularity: 1 has four events, 6 none.
    scores = floor.scores(HistoryBatch.of([np.array([4], np.int32)]))[0]
    np.testing.assert_allclose(scores, [0, -0.5, -0.75, -0.5, 1 / sqrt(2), -1], rtol=1e-6)


def test_shrinkage_makes_little_of_what_few_users_tell():
    train = [[1, 2]] * 30 + [[1]] * 10 + [[1, 3]]
    split = make_split([*train, [3, 4]], num_items=4)
    near = {s: ItemKNN.fit(split, neighbours=3, shrinkage=s).similarities[3] for s in (0.0, 10.0)}
    # 3 was met twice, 4 once: with 4 always, so it is nearest, but by a single user.
    assert near[0.0][0] == pytest.approx(1 / sqrt(2))
    assert near[10.0][0] == pytest.approx(1 / (sqrt(2) + 10))


@pytest.mark.parametrize("settings", [{"neighbours": 0}, {"shrinkage": -1.0}, {"shrinkage": float("nan")}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(
        ConfigError, match=r"neighbours is \d+ and shrinkage .*, expected at least 1 and at least 0"
    ):
        ItemKNN.fit(make_split([[1, 2]], num_items=2), **settings)


def test_no_matrix_of_all_pairs_is_made():
    """Of 3,000 items it would take 36 MB of float32, and more than half of them have the first item in common."""
    rng = np.random.default_rng(0)
    N = 3_000
    train = [[1, *rng.integers(2, N + 1, 15).tolist()] for _ in range(200)]
    split = make_split(train, num_items=N)
    tracemalloc.start()
    floor = ItemKNN.fit(split, neighbours=10)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.count_nonzero(floor.similarities[:, 0]) > N / 2
    assert kept < 400_000
    assert peak < 1_000_000
