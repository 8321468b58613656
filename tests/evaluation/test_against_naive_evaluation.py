"""Equality with an independent implementation in plain Python, on many random cases."""

import numpy as np
import pytest
from evaluation_cases import counts_for, make_cases, random_cases, table_for
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.evaluation.evaluate import evaluate, validate
from reference import naive_evaluation


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float]], list[list[int]], list[list[int]], list[int]]:
    """Scores, histories, targets, training counts: tiny catalogues, heavy ties, targets repeated and seen."""
    num_items = draw(st.integers(1, 12))
    users = draw(st.integers(1, 5))
    item = st.integers(1, num_items)
    score = draw(
        st.sampled_from(
            [
                st.sampled_from([0.0, -0.0, 1.0]),
                st.sampled_from([-np.inf, 0.5, np.inf, 2.0, 3.0]),
                st.floats(-3, 3, width=32),
            ]
        )
    )
    scores = [draw(st.lists(score, min_size=num_items, max_size=num_items)) for _ in range(users)]
    histories = [draw(st.lists(item, max_size=14)) for _ in range(users)]
    targets = [draw(st.lists(item, min_size=1, max_size=6)) for _ in range(users)]
    counts = draw(st.lists(st.integers(0, 4), min_size=num_items, max_size=num_items))
    counts[draw(st.integers(0, num_items - 1))] += 1
    return scores, histories, targets, [0, *counts]


@settings(max_examples=250, deadline=None)
@given(problems(), st.sampled_from([np.float32, np.float64]), st.integers(1, 7))
def test_every_metric_equals_the_naive_one(problem, dtype, lists_k):
    scores, histories, targets, counts = problem
    cases = make_cases(histories, targets, len(scores[0]))
    scorer = table_for(cases, np.array(scores, dtype))
    found = evaluate(
        scorer,
        cases,
        train_counts=np.array(counts),
        ks=(1, 3, 10),
        lists_k=lists_k,
        resamples=2,
        scores_bytes=200,
    )
    expected = naive_evaluation.evaluate(scores, histories, targets, counts, (1, 3, 10), lists_k)
    assert found.filtered == pytest.approx(expected["filtered"], rel=1e-12, abs=1e-12, nan_ok=True)
    assert found.unfiltered == pytest.approx(expected["unfiltered"], rel=1e-12, abs=1e-12, nan_ok=True)

    quick = validate(scorer, cases, k=3)
    assert quick["filtered/ndcg@3"] == pytest.approx(expected["filtered"]["ndcg@3"], rel=1e-12)
    assert quick["unfiltered/mrr"] == pytest.approx(expected["unfiltered"]["mrr"], rel=1e-12)


def test_long_histories_and_many_targets_equal_the_naive_ones():
    rng = np.random.default_rng(21)
    cases = random_cases(rng, users=50, num_items=300, longest=400, most_targets=40)
    table = rng.integers(0, 60, (50, 300)).astype(np.float32)
    counts = counts_for(cases, rng)
    found = evaluate(table_for(cases, table), cases, train_counts=counts, resamples=1)
    histories, targets = (
        [part(u).tolist() for u in range(50)] for part in (cases.batch.__getitem__, cases.targets)
    )
    expected = naive_evaluation.evaluate(table.tolist(), histories, targets, counts.tolist(), (5, 10, 20), 10)
    assert found.filtered == pytest.approx(expected["filtered"], rel=1e-12)
    assert found.unfiltered == pytest.approx(expected["unfiltered"], rel=1e-12)


@settings(max_examples=250, deadline=None)
@given(problems())
def test_ranks_of_every_user_equal_the_naive_ones(problem):
    scores, histories, targets, counts = problem
    cases = make_cases(histories, targets, len(scores[0]))
    found = evaluate(table_for(cases, np.array(scores)), cases, train_counts=np.array(counts), resamples=1)
    for u in range(len(scores)):
        assert found.ranks_unfiltered[u].tolist() == naive_evaluation.ranks(scores[u], targets[u], set())
        assert found.ranks_filtered[u].tolist() == naive_evaluation.ranks(
            scores[u], targets[u], set(histories[u])
        )
