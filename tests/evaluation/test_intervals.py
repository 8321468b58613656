"""Intervals cover what they claim to cover; paired comparisons see what unpaired ones cannot."""

import numpy as np
import pytest
from evaluation_cases import make_cases, table_for

from grela.errors import RequestError
from grela.evaluation.evaluate import evaluate
from grela.evaluation.evaluation import compare
from grela.evaluation.intervals import Ratio, bootstrap, intervals, paired_difference


def test_intervals_cover_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(400):
        low, high = bootstrap(rng.binomial(1, 0.3, 300).astype(float), resamples=400, seed=trial)
        covered += low <= 0.3 <= high
    # 400 trials at 95 %: mean 380, standard deviation 4.4; percentile intervals cover a little less.
    assert 364 <= covered <= 394


def test_an_interval_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(6).normal(2.0, 3.0, 2000)
    low, high = bootstrap(values, resamples=2000, seed=1)
    standard_error = values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - 1.96 * standard_error, abs=0.12 * standard_error)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error, abs=0.12 * standard_error)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(7).random(50)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_a_ratio_is_resampled_as_a_whole():
    denominator = np.random.default_rng(8).random(40) + 0.5
    found = intervals({"constant": Ratio(3 * denominator, denominator)}, resamples=100, seed=0)
    assert found["constant"] == pytest.approx((3, 3))


def test_a_ratio_without_users_is_undefined():
    nobody = Ratio(np.zeros(4), np.zeros(4))
    assert np.isnan(nobody.value)
    assert np.isnan(intervals({"x": nobody}, resamples=10, seed=0)["x"]).all()


def test_a_small_difference_on_the_same_users_is_seen():
    rng = np.random.default_rng(9)
    b = rng.random(500)
    a = b + rng.normal(0.01, 0.02, 500)
    found = paired_difference(a, b, resamples=2000)
    assert found.difference == pytest.approx((a - b).mean())
    assert 0 < found.low < found.difference < found.high
    assert found.p_value < 0.002
    # Unpaired, the two intervals overlap widely.
    assert bootstrap(a)[0] < bootstrap(b)[1]


def test_p_values_are_uniform_when_the_models_are_exchangeable():
    rng = np.random.default_rng(10)
    p_values = [
        paired_difference(rng.random(60), rng.random(60), resamples=200, seed=t).p_value for t in range(400)
    ]
    # 400 trials: the share below p has a standard deviation of at most .025.
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(np.array(p_values) <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_permutation_p_value_is_the_exact_one_for_a_handful_of_users():
    # Five differences of one sign: 2 of the 32 sign patterns are as extreme, p = 1/16.
    found = paired_difference(np.full(5, 0.7), np.full(5, 0.4), resamples=20_000)
    assert found.p_value == pytest.approx(1 / 16, abs=0.006)


def test_a_p_value_is_never_zero_since_the_observation_counts_as_one_flip():
    assert paired_difference(np.ones(100), np.zeros(100), resamples=99).p_value == 1 / 100


def test_a_model_does_not_differ_from_itself():
    values = np.random.default_rng(12).random(30)
    found = paired_difference(values, values)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_compare_refuses_evaluations_of_other_users():
    cases = make_cases([[1], [2], [3]], [[4], [5], [6]], num_items=6)
    counts = np.array([0, 1, 1, 1, 1, 1, 1])
    good, bad = np.zeros((3, 6)), np.zeros((3, 6))
    good[[0, 1, 2], [3, 4, 5]] = 1
    a = evaluate(table_for(cases, good), cases, train_counts=counts, ks=(1,), resamples=10)
    b = evaluate(table_for(cases, bad), cases, train_counts=counts, ks=(1,), resamples=10)
    found = compare(a, b, metric="hr@1", resamples=100)
    assert (found.difference, found.users) == (1, 3)
    fewer = evaluate(table_for(cases, bad), cases.take(slice(2)), train_counts=counts, ks=(1,), resamples=10)
    with pytest.raises(RequestError, match="same cases"):
        compare(a, fewer, metric="hr@1")
    with pytest.raises(RequestError, match="hr@1, ndcg@1"):
        compare(a, b, metric="hr@7")
