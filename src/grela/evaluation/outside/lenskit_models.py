"""Models of LensKit (Ekstrand, CIKM 2020, arXiv 1809.03125), which score the histories they are given.

    LensKitScorer.fit(split, EASEScorer(regularization=100), seed=0)

A query holds the history's different items and no user id: item neighbours, EASE and SLIM multiply them, ALS solves for
the user's embedding. On first use LensKit sets the process's threads of BLAS and PyTorch for good; call
`lenskit.parallel.initialize` before, or measure it in a process of its own.
"""

from typing import Any

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split
from grela.errors import ModelError
from grela.evaluation.training_events import different_items, training_histories

# B histories in a batch, N items of the catalogue


class LensKitScorer:
    """A `Scorer` by a trained scorer of LensKit; items to which it gives no score, its NaN, have -inf."""

    def __init__(self, model: Any, items: Any) -> None:
        self.model = model
        self.items = items

    @classmethod
    def fit(cls, split: Split, model: Any, *, seed: int) -> "LensKitScorer":
        """Train `model`, say `lenskit.knn.ItemKNNScorer(feedback="implicit")`, on the training events, ratings unknown.

        `ModelError` for one that scores nothing for the longest training history: it knows users by id alone.
        """
        from lenskit.training import TrainingOptions

        data = _dataset(split)
        model.train(data, TrainingOptions(rng=seed))
        scorer = cls(model, data.items)
        training = training_histories(split)
        longest = training.take(np.argmax(training.lengths, keepdims=True))
        if np.isneginf(scorer.scores(longest)).all():
            raise ModelError(
                f"{type(model).__name__} scores no item for the longest training history; take one that scores "
                "by the items of a query, as ItemKNNScorer and EASEScorer do"
            )
        return scorer

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.items)

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float64 [B, N]."""
        from lenskit.data import ItemList, RecQuery

        every = ItemList(item_nums=np.arange(self.num_items), vocabulary=self.items)
        scores_BN = np.empty((len(batch), self.num_items))
        for b in range(len(batch)):
            met = ItemList(item_nums=np.unique(batch[b]) - 1, vocabulary=self.items)
            scores_BN[b] = self.model(RecQuery(history_items=met), every).scores("numpy")
        scores_BN[np.isnan(scores_BN)] = -np.inf
        return scores_BN


def _dataset(split: Split) -> Any:
    """Each user's different training items, once: EASE's co-occurrences would count repeats several times.

    Items are called by their dense ids, in order, those without events too.
    """
    import pyarrow as pa
    from lenskit.data import DatasetBuilder

    once = different_items(split)
    pairs = {
        "user_id": np.repeat(np.arange(len(once)), once.lengths),
        "item_id": once.items.astype(np.int64),
    }
    builder = DatasetBuilder()
    builder.add_entities("user", np.arange(len(once)))
    builder.add_entities("item", np.arange(1, split.histories.num_items + 1))
    builder.add_interactions("event", pa.table(pairs), entities=["user", "item"], default=True)
    return builder.build()
