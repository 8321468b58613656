"""Models of LensKit, as they are installed, measured by the evaluation of this library."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from grela.data.histories import HistoryBatch
from grela.errors import EmptyDataError, ModelError
from grela.evaluation.evaluate import evaluate
from grela.evaluation.floors.item_knn import ItemKNN
from grela.evaluation.outside.lenskit_models import LensKitScorer
from small_splits import make_split, random_split, training_lists

pytest.importorskip("lenskit", reason="lenskit is in the optional extra `rivals`")
als, basic, ease, knn = (
    pytest.importorskip(f"lenskit.{name}") for name in ("als", "basic", "knn.ease", "knn")
)

ITEMS = 13
HISTORIES = [[3, 5, 3], [13], [1, 2, 3, 4, 5, 6, 7, 8]]
BATCH = HistoryBatch.of([np.array(h, np.int32) for h in HISTORIES])
NOTHING = HistoryBatch.of([np.zeros(0, np.int32)])

# LensKit warns when it cannot set threads that PyTorch has used already.
pytestmark = pytest.mark.filterwarnings("ignore:failed to set")


@pytest.fixture(autouse=True)
def threads():
    """LensKit sets the threads of PyTorch, which other tests have set to one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def split():
    return random_split(np.random.default_rng(5), users=30, num_items=ITEMS, longest=9)


MODELS = {
    "item-knn": lambda: knn.ItemKNNScorer(max_nbrs=ITEMS, feedback="implicit"),
    "ease": lambda: ease.EASEScorer(regularization=2.0),
    "als": lambda: als.ImplicitMFScorer(embedding_size=4, epochs=3),
}


def test_ease_is_its_closed_form(split):
    """B = I - P diag(P)^-1 with P = (X^T X + regularisation)^-1 (Steck, WWW 2019, eq. 8), X of ones and zeros."""
    X = np.zeros((30, ITEMS))
    for u, history in enumerate(training_lists(split)):
        X[u, np.array(history, np.int64) - 1] = 1
    P = np.linalg.inv(X.T @ X + 2 * np.eye(ITEMS))
    B = np.eye(ITEMS) - P / np.diag(P)
    found = LensKitScorer.fit(split, MODELS["ease"](), seed=0).scores(BATCH)
    for scores, history in zip(found, HISTORIES, strict=True):
        x = np.zeros(ITEMS)
        x[np.array(history) - 1] = 1
        np.testing.assert_allclose(scores, x @ B, rtol=1e-3, atol=1e-4)


def test_cosine_neighbours_are_those_of_item_knn(split):
    theirs = LensKitScorer.fit(split, MODELS["item-knn"](), seed=0).scores(BATCH)
    ours = ItemKNN.fit(split, neighbours=ITEMS, shrinkage=0).scores(BATCH)
    neighbours = ours > 0
    assert neighbours.sum() > 20
    np.testing.assert_allclose(theirs[neighbours], ours[neighbours], rtol=1e-5)
    assert np.isneginf(theirs[~neighbours]).all()


@pytest.mark.parametrize("name", MODELS)
def test_it_is_measured_by_the_evaluation_and_sees_training_alone(name, split):
    scorer = LensKitScorer.fit(split, MODELS[name](), seed=0)
    assert scorer.num_items == ITEMS
    assert np.isneginf(scorer.scores(NOTHING)).all()
    counts = np.bincount(split.histories.items, minlength=ITEMS + 1)
    found = evaluate(scorer, split.cases("test"), train_counts=counts, resamples=1)
    assert 0 < found.unfiltered["mrr"] < 1

    histories = split.histories
    held_out = np.arange(histories.num_events) >= np.repeat(
        histories.offsets[:-1] + split.train_end, histories.lengths
    )
    items = np.where(held_out, histories.items % ITEMS + 1, histories.items).astype(np.int32)
    other = replace(split, histories=replace(histories, items=items))
    again = LensKitScorer.fit(other, MODELS[name](), seed=0).scores(BATCH)
    np.testing.assert_array_equal(again, scorer.scores(BATCH))


def test_the_seed_decides(split):
    first, again, other = (
        LensKitScorer.fit(split, MODELS["als"](), seed=seed).scores(BATCH) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_model_of_users_alone_is_refused(split):
    with pytest.raises(ModelError, match="scores no item for the longest training history"):
        LensKitScorer.fit(
            split, als.ImplicitMFScorer(embedding_size=4, epochs=1, user_embeddings="prefer"), seed=0
        )


def test_without_training_events_nothing_is_fitted():
    empty = make_split([[], []], num_items=3, held_out=[[1, 2], [3]])
    with pytest.raises(EmptyDataError, match="no training events"):
        LensKitScorer.fit(empty, MODELS["ease"](), seed=0)
