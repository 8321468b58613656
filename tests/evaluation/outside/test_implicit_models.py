"""Models of implicit, as they are installed, measured by the evaluation of this library."""

from dataclasses import replace

import numpy as np
import pytest

from grela.data.histories import HistoryBatch
from grela.errors import EmptyDataError, ModelError
from grela.evaluation.evaluate import evaluate
from grela.evaluation.floors.item_knn import ItemKNN
from grela.evaluation.outside.implicit_models import ImplicitScorer
from small_splits import make_split, random_split, training_lists

pytest.importorskip("implicit", reason="implicit is in the optional extra `rivals`")
threadpoolctl = pytest.importorskip("threadpoolctl")
als, bpr, nearest = (pytest.importorskip(f"implicit.{name}") for name in ("als", "bpr", "nearest_neighbours"))

ITEMS, FACTORS = 13, 4
HISTORIES = [[3, 5, 3], [], [13], [1, 2, 3, 4, 5, 6, 7, 8]]
BATCH = HistoryBatch.of([np.array(h, np.int32) for h in HISTORIES])


@pytest.fixture
def split():
    return random_split(np.random.default_rng(5), users=30, num_items=ITEMS, longest=9)


def als_model():
    # implicit warns of more.
    with threadpoolctl.threadpool_limits(1, "blas"):
        return als.AlternatingLeastSquares(
            factors=FACTORS, regularization=0.3, iterations=5, num_threads=1, random_state=0
        )


def cosine_model():
    return nearest.CosineRecommender(K=ITEMS, num_threads=1)


# Its cosine model hands its own function a matrix of another form.
pytestmark = pytest.mark.filterwarnings("ignore:Method expects CSR input")

MODELS = {"als": als_model, "cosine": cosine_model}


def test_als_solves_for_the_history_that_it_is_given(split):
    """x = (Y^T C Y + regularisation)^-1 Y^T C p over all items, C = n where there are events and 1 elsewhere."""
    scorer = ImplicitScorer.fit(split, als_model())
    Y = scorer.model.item_factors.astype(np.float64)
    assert Y.shape == (ITEMS, FACTORS)
    for found, history in zip(scorer.scores(BATCH), HISTORIES, strict=True):
        counts = np.bincount(history, minlength=ITEMS + 1)[1:].astype(np.float64)
        confidence = np.where(counts > 0, counts, 1)
        left = (Y.T * confidence) @ Y + 0.3 * np.eye(FACTORS)
        x = np.linalg.solve(left, Y.T @ counts)
        np.testing.assert_allclose(found, Y @ x, rtol=1e-3, atol=1e-4)


def test_cosine_neighbours_are_those_of_item_knn(split):
    """Where nothing repeats; implicit counts an item as its own neighbour too, so its own history is left out."""
    lists = [sorted(set(history)) for history in training_lists(split)]
    once = make_split(lists, num_items=ITEMS)
    theirs = ImplicitScorer.fit(once, cosine_model()).scores(BATCH)
    ours = ItemKNN.fit(once, neighbours=ITEMS, shrinkage=0).scores(BATCH)
    compared = 0
    for b, history in enumerate(HISTORIES):
        if len(set(history)) == len(history):
            new = np.setdiff1d(np.arange(ITEMS), np.array(history, np.int64) - 1)
            neighbours = new[ours[b, new] > 0]
            np.testing.assert_allclose(theirs[b, neighbours], ours[b, neighbours], rtol=1e-5)
            assert np.isneginf(theirs[b, np.setdiff1d(new, neighbours)]).all()
            compared += len(neighbours)
    assert compared > 10


@pytest.mark.parametrize("name", MODELS)
def test_it_is_measured_by_the_evaluation_and_sees_training_alone(name, split):
    scorer = ImplicitScorer.fit(split, MODELS[name]())
    assert scorer.num_items == ITEMS
    assert scorer.scores(BATCH).shape == (4, ITEMS)
    counts = np.bincount(split.histories.items, minlength=ITEMS + 1)
    found = evaluate(scorer, split.cases("test"), train_counts=counts, resamples=1)
    assert 0 < found.unfiltered["mrr"] < 1

    histories = split.histories
    held_out = np.arange(histories.num_events) >= np.repeat(
        histories.offsets[:-1] + split.train_end, histories.lengths
    )
    items = np.where(held_out, histories.items % ITEMS + 1, histories.items).astype(np.int32)
    other = replace(split, histories=replace(histories, items=items))
    again = ImplicitScorer.fit(other, MODELS[name]()).scores(BATCH)
    np.testing.assert_array_equal(again, scorer.scores(BATCH))


def test_a_model_of_users_alone_is_refused_before_it_is_fitted(split):
    with pytest.raises(
        ModelError, match="BayesianPersonalizedRanking scores the users that it was fitted to"
    ):
        ImplicitScorer.fit(split, bpr.BayesianPersonalizedRanking(factors=4))


def test_without_training_events_nothing_is_fitted():
    empty = make_split([[], []], num_items=3, held_out=[[1, 2], [3]])
    with pytest.raises(EmptyDataError, match="no training events"):
        ImplicitScorer.fit(empty, als_model())
