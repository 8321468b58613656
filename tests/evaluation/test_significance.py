"""Pairs of models on the same users: each pair's figures are its own, and the correction is Holm's."""

from itertools import product

import numpy as np
import pytest

from grela.errors import RequestError
from grela.evaluation.intervals import bootstrap, paired_difference
from grela.evaluation.significance import all_pairs, holm


def values(users: int, *means: float, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    common = rng.random(users)
    return {f"m{j}": mean + common + 0.3 * rng.random(users) for j, mean in enumerate(means)}


def test_every_pair_is_there_once_with_the_mean_and_interval_of_its_difference():
    given = values(200, 0.0, 0.05, 0.5)
    found = all_pairs(given, resamples=2000, seed=3)
    assert [(pair.a, pair.b) for pair in found] == [("m0", "m1"), ("m0", "m2"), ("m1", "m2")]
    for pair in found:
        difference = given[pair.a] - given[pair.b]
        assert pair.difference == pytest.approx(difference.mean(), abs=1e-12)
        assert (pair.low, pair.high) == pytest.approx(
            bootstrap(difference, resamples=2000, seed=3), abs=1e-12
        )


def test_the_p_value_is_that_of_all_flips_of_signs():
    """8 users: 256 flips can be counted."""
    given = values(8, 0.0, 0.12, 0.3, seed=5)
    for pair in all_pairs(given, resamples=40_000):
        difference = given[pair.a] - given[pair.b]
        flips = np.abs(np.array(list(product((-1, 1), repeat=8))) @ difference)
        exact = (flips >= abs(difference.sum()) - 1e-12).mean()
        assert pair.p_value == pytest.approx(exact, abs=0.01)
        assert pair.p_holm >= pair.p_value


def test_against_one_model_the_others_are_corrected_for_their_own_number():
    given = values(200, 0.0, 0.05, 0.02)
    found = all_pairs(given, against="m1", resamples=2000)
    assert [(pair.a, pair.b) for pair in found] == [("m0", "m1"), ("m2", "m1")]
    assert [pair.p_holm for pair in found] == holm([pair.p_value for pair in found])
    assert found[0].difference == pytest.approx((given["m0"] - given["m1"]).mean(), abs=1e-12)


def test_a_pair_alone_is_what_the_paired_comparison_says():
    given = values(300, 0.0, 0.02)
    (pair,) = all_pairs(given)
    alone = paired_difference(given["m0"], given["m1"])
    assert (pair.difference, pair.low, pair.high) == pytest.approx(
        (alone.difference, alone.low, alone.high), abs=1e-12
    )
    assert pair.p_value == alone.p_value == pair.p_holm


def test_equal_models_are_not_told_apart():
    given = values(50, 0.0)
    (pair,) = all_pairs({"a": given["m0"], "b": given["m0"].copy()}, resamples=500)
    assert (pair.difference, pair.p_value, pair.p_holm) == (0, 1, 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # the textbook's case of four
        ([0.5, 0.4], [0.8, 0.8]),
        ([0.9, 0.9, 0.001], [1.0, 1.0, 0.003]),
    ],
)
def test_holms_correction(given, expected):
    assert holm(given) == pytest.approx(expected)


def test_by_mistake_any_pair_differs_no_more_often_than_the_level_says():
    """Five models that are the same but for noise, 200 times: each time some pair at p < .05 is a mistake."""
    raw = corrected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = all_pairs({f"m{j}": rng.normal(size=40) for j in range(5)}, resamples=400, seed=seed)
        raw += min(pair.p_value for pair in found) < 0.05
        corrected += min(pair.p_holm for pair in found) < 0.05
    assert corrected <= 20  # 10 expected at most; 20 or more happen once in 400 such tests
    assert raw > 2 * corrected


def test_models_of_different_users_are_refused():
    with pytest.raises(RequestError, match=r"different users: a \(3,\), b \(4,\)"):
        all_pairs({"a": np.zeros(3), "b": np.zeros(4)})


def test_one_model_has_no_pairs():
    assert all_pairs({"a": np.zeros(3)}) == []
