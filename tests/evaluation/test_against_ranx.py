"""Equality with `ranx` where its conventions and ours agree: no ties, and every candidate in the run."""

import numpy as np
import pytest
from evaluation_cases import counts_for, random_cases, table_for

from grela.evaluation.evaluate import evaluate

NUM_ITEMS, USERS, KS = 31, 40, (1, 5, 10)


@pytest.fixture(scope="module")
def ranx():
    numba = pytest.importorskip("numba", reason="ranx is a development extra")
    # Run as plain Python: the same functions, without 40 s of compilation for 40 users.
    numba.config.DISABLE_JIT = True
    return pytest.importorskip("ranx", reason="ranx is a development extra")


@pytest.mark.parametrize("view", ["filtered", "unfiltered"])
def test_metrics_equal_those_of_ranx(ranx, view):
    rng = np.random.default_rng(11)
    cases = random_cases(rng, users=USERS, num_items=NUM_ITEMS, longest=12, most_targets=7)
    scores = rng.permuted(np.arange(USERS * NUM_ITEMS, dtype=np.float64)).reshape(USERS, NUM_ITEMS)
    found = evaluate(table_for(cases, scores), cases, train_counts=counts_for(cases, rng), ks=KS, resamples=1)

    qrels, run = {}, {}
    for u in range(USERS):
        hidden = set(cases.batch[u].tolist()) if view == "filtered" else set()
        qrels[str(u)] = {str(item): 1 for item in cases.targets(u).tolist()}
        run[str(u)] = {str(j + 1): scores[u, j] for j in range(NUM_ITEMS) if j + 1 not in hidden}
    names = {"hr": "hit_rate", "ndcg": "ndcg", "mrr": "mrr", "recall": "recall", "precision": "precision"}
    ours_by_theirs = {f"{theirs}@{k}": f"{ours}@{k}" for ours, theirs in names.items() for k in KS} | {
        "mrr": "mrr"
    }
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(ours_by_theirs))

    assert found.targets_already_seen > 0
    values = getattr(found, view)
    assert {name: values[ours] for name, ours in ours_by_theirs.items()} == pytest.approx(theirs, rel=1e-12)
