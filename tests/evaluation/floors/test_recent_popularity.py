"""Recent popularity by hand: what an event weighs after a time, and how soon that is a half."""

import numpy as np
import pytest

from grela.data.histories import HistoryBatch
from grela.evaluation.floors.recent_popularity import RecentPopularity, halving
from grela.evaluation.popularity import Popularity
from small_splits import make_split

ANY = HistoryBatch.of([np.array([1], np.int32)])


def test_an_events_weight_halves_with_every_half_life():
    times = [[0.0, 70.0, 100.0], [40.0, 90.0]]
    floor = RecentPopularity.fit(make_split([[1, 1, 2], [2, 3]], num_items=4, times=times))
    # One of five events is of age 0: that is more than a tenth, and nothing else counts.
    assert floor.half_life == 0
    assert floor.scores(ANY)[0].tolist() == [0, 1, 0, 0]
    years = [list(np.linspace(0, 100, 11)), list(np.linspace(5, 95, 10))]
    floor = RecentPopularity.fit(make_split([[1] * 11, [2] * 10], num_items=3, times=years))
    first, second = (sum(2 ** (-(100 - t) / floor.half_life) for t in user) for user in years)
    assert first + second == pytest.approx(2.1, rel=1e-5)
    np.testing.assert_allclose(floor.scores(ANY)[0], [first, second, 0], rtol=1e-5)


def test_the_half_life_leaves_a_tenth_of_the_events_to_count():
    rng = np.random.default_rng(0)
    for ages in (rng.random(500) * 9, rng.pareto(0.5, 500), np.append(rng.random(499), 1e6)):
        found = halving((ages - ages.min()).astype(np.float32))
        weights = 2.0 ** (-(ages - ages.min()) / found)
        assert weights.sum() == pytest.approx(50, rel=1e-4)


def test_the_unit_of_time_does_not_matter():
    rng = np.random.default_rng(1)
    train = [rng.integers(1, 6, 40).tolist()]
    days = np.sort(rng.random(40) * 1000)
    one, other = (
        RecentPopularity.fit(make_split(train, num_items=5, times=[list(days * unit)]))
        for unit in (1, 86_400e6)
    )
    assert other.half_life == pytest.approx(one.half_life * 86_400e6, rel=1e-5)
    np.testing.assert_allclose(one.scores(ANY), other.scores(ANY), rtol=1e-4)


def test_old_fame_fades():
    train = [[1] * 50 + [2] * 10]
    times = [[*np.linspace(0, 10, 50), *np.linspace(90, 100, 10)]]
    split = make_split(train, num_items=2, times=times)
    assert Popularity.fit(split).scores(ANY)[0].tolist() == [50, 10]
    recent = RecentPopularity.fit(split).scores(ANY)[0]
    assert recent[1] > 100 * recent[0] > 0


def test_events_of_one_time_all_count():
    split = make_split([[1, 2, 2], [3]], num_items=3, times=[[7.0] * 3, [7.0]])
    assert RecentPopularity.fit(split).scores(ANY)[0].tolist() == [1, 2, 1]
