from collections import Counter

import numpy as np
import pytest
from cases import CATALOGUES, WINDOWS, combinations, suite
from synthetic import histories
from train import schedule


def test_the_suite_changes_one_thing_at_a_time():
    cases = suite(["causal", "bidirectional"], ["cpu", "cuda"], 2)
    assert len(set(cases)) == len(cases)
    for form in ("causal", "bidirectional"):
        of_form = [case for case in cases if (case.form, case.device) == (form, "cpu")]
        assert {case.window for case in of_form} == set(WINDOWS)
        assert {case.items for case in of_form} == set(CATALOGUES)
        for case in of_form:
            usual = (case.window == 200, case.items == 3_416, case.precision == "auto", case.threads == 2)
            assert sum(usual) >= 3


def test_a_step_holds_a_whole_window():
    cases = combinations(
        ["causal"],
        ["cpu"],
        threads=[1],
        windows=[50, 8_192],
        catalogues=[10],
        precisions=["fp32"],
        positions=[100, 6_400],
    )
    assert [(case.window, case.positions) for case in cases] == [
        (50, 100),
        (50, 6_400),
        (8_192, 8_192),
        (8_192, 8_192),
    ]


def test_commits_take_turns_and_each_is_first_as_often_as_the_other():
    runs = list(schedule(["a", "b"], ["this", "against"], 2))
    assert [number for number, *_ in runs] == list(range(1, 9))
    assert Counter((case, library) for _, _, case, library in runs) == {
        (case, library): 2 for case in "ab" for library in ("this", "against")
    }
    neighbours = list(zip(runs[::2], runs[1::2], strict=True))
    assert all(first[2] == second[2] for first, second in neighbours)
    assert [first[3] for first, _ in neighbours] == ["this", "this", "against", "against"]


def test_made_up_histories_have_the_lengths_of_ml_1m():
    items, start, end = histories(0)
    lengths = end - start
    assert np.median(lengths) == pytest.approx(96, abs=1)
    assert lengths.mean() == pytest.approx(165, rel=0.05)
    assert lengths.max() == 2_300
    assert (items.min(), items.max()) == (1, 3_416)
    assert len(items) == end[-1]


def test_a_few_histories_are_shaped_as_many():
    _, start, end = histories(0, users=16, items=10, median=500)
    lengths = end - start
    assert np.median(lengths) == pytest.approx(500, rel=0.1)
    assert lengths.mean() == pytest.approx(500 * 165 / 96, rel=0.15)
