"""What is wrong with a scorer, the cases or the settings is said, with the user where there is one."""

import numpy as np
import pytest
from evaluation_cases import make_cases, table_for

from grela.data.histories import Cases
from grela.errors import ConfigError, DataError, EmptyDataError, ModelError, RequestError
from grela.evaluation.evaluate import evaluate, validate
from grela.evaluation.intervals import bootstrap, paired_difference
from grela.evaluation.popularity import Popularity

COUNTS = np.array([0, 2, 1, 1, 1, 1])
CASES = make_cases([[1, 2], [3], [4]], [[3], [4], [5]], num_items=5)
GOOD = np.arange(15.0).reshape(3, 5)


class Fixed:
    """Returns the same array whatever it is asked."""

    num_items = 5

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def scores(self, batch: object) -> object:
        return self.answer


def test_nan_is_refused_naming_user_and_item():
    table = GOOD.copy()
    table[1, 2] = np.nan
    with pytest.raises(ModelError, match=r"item 103 for user 'u1' is NaN \(1 of 3 users"):
        validate(table_for(CASES, table), CASES)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((3, 6)), r"shape \(3, 6\) for 3 histories, expected \(3, 5\)"),
        (np.zeros((2, 5)), r"shape \(2, 5\)"),
        (np.zeros(15), r"shape \(15,\)"),
        (np.zeros((3, 5), np.int64), "type int64, expected float32 or float64"),
        (np.zeros((3, 5), np.float16), "type float16"),
        ([[0.0] * 5] * 3, "returned list, expected a numpy array"),
    ],
)
def test_scores_of_a_wrong_shape_or_type_are_refused(answer, message):
    with pytest.raises(ModelError, match=message):
        validate(Fixed(answer), CASES)


def test_a_scorer_of_another_catalogue_is_refused():
    with pytest.raises(ModelError, match="knows 4 items, the catalogue of the cases has 5"):
        validate(Popularity(COUNTS[:5]), CASES)


def test_no_cases_are_refused():
    with pytest.raises(EmptyDataError, match="no cases"):
        validate(Fixed(GOOD), CASES.take(slice(0)))


def test_a_case_without_target_is_refused():
    without = Cases(CASES.histories, CASES.users, CASES.target_end, CASES.target_end)
    with pytest.raises(DataError, match=r"user 'u0' \(case 0\) has no target"):
        validate(Fixed(GOOD), without)


def test_a_user_with_two_cases_is_refused():
    with pytest.raises(DataError, match="user 'u1' occurs in more than one case"):
        evaluate(Fixed(GOOD), CASES.take(np.array([1, 0, 1])), train_counts=COUNTS)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (COUNTS[1:], r"shape \(5,\), expected integers of shape \(6,\)"),
        (COUNTS / 2, "float64"),
        (COUNTS + 1, "expected 0 for padding"),
        (COUNTS * -1, "no negative count"),
        (COUNTS * 0, "all 0"),
    ],
)
def test_train_counts_that_make_no_sense_are_refused(counts, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(Fixed(GOOD), CASES, train_counts=counts)


@pytest.mark.parametrize(
    "settings", [{"ks": ()}, {"ks": (0, 5)}, {"lists_k": 0}, {"resamples": 0}, {"scores_bytes": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    name = next(iter(settings))
    with pytest.raises(ConfigError, match=f"{name} is "):
        evaluate(Fixed(GOOD), CASES, train_counts=COUNTS, **settings)


def test_values_of_different_users_are_not_paired():
    with pytest.raises(RequestError, match="the same users"):
        paired_difference(np.zeros(3), np.zeros(4))
    with pytest.raises(ConfigError, match="0 users"):
        bootstrap(np.zeros(0))


def test_an_unknown_view_is_refused():
    found = evaluate(table_for(CASES, GOOD), CASES, train_counts=COUNTS, resamples=1)
    with pytest.raises(RequestError, match="'filtered' or 'unfiltered'"):
        found.per_user("mrr", "both")
