"""Models of implicit (Frederickson): ALS and item-item neighbours, which score the histories they are given.

    ImplicitScorer.fit(split, AlternatingLeastSquares(factors=64, random_state=0))

A user's row is how often each item occurs in the history. ALS solves for the user's factors by that row at each call
(`recalculate_user`), item-item models multiply it with their similarities: neither knows users by id.
"""

from typing import Any

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split
from grela.errors import ModelError
from grela.evaluation.training_events import places, training_histories

# B histories in a batch, N items of the catalogue


class ImplicitScorer:
    """A `Scorer` by a fitted model of implicit; items that it does not return have the score -inf."""

    def __init__(self, model: Any, num_items: int) -> None:
        self.model = model
        self._num_items = num_items

    @classmethod
    def fit(cls, split: Split, model: Any) -> "ImplicitScorer":
        """Fit `model`, say `implicit.als.AlternatingLeastSquares(...)`, to the training events.

        `ModelError` for one that has no way to score a history, as BPR and logistic factorisation have none.
        """
        _refuse_models_of_users(model)
        with _one_blas_thread():
            model.fit(_matrix(training_histories(split), split.histories.num_items), show_progress=False)
        return cls(model, split.histories.num_items)

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return self._num_items

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float32 or float64, as the model's, [B, N]."""
        with _one_blas_thread():
            ids_BN, found_BN = self.model.recommend(
                np.arange(len(batch)),
                _matrix(batch, self.num_items),
                N=self.num_items,
                filter_already_liked_items=False,
                recalculate_user=True,
            )
        scores_BN = np.full(found_BN.shape, -np.inf, found_BN.dtype)
        row, place = np.nonzero(ids_BN >= 0)  # -1 stands for none
        scores_BN[row, ids_BN[row, place]] = found_BN[row, place]
        return scores_BN


def _matrix(batch: HistoryBatch, num_items: int) -> Any:
    """How often each history has each item, a sparse matrix of float32 [B, N]; column j is item j + 1."""
    from scipy.sparse import csr_matrix

    columns = batch.items[places(batch)] - 1
    first = np.concatenate(([0], np.cumsum(batch.lengths)))
    counts = csr_matrix((np.ones(len(columns), np.float32), columns, first), shape=(len(batch), num_items))
    counts.sum_duplicates()
    return counts


def _refuse_models_of_users(model: Any) -> None:
    from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase

    kind = type(model)
    if (
        isinstance(model, MatrixFactorizationBase)
        and kind.recalculate_user is MatrixFactorizationBase.recalculate_user
    ):
        raise ModelError(
            f"{kind.__name__} scores the users that it was fitted to and cannot score a history; take "
            "AlternatingLeastSquares or an item-item model"
        )


def _one_blas_thread() -> Any:
    """While it lasts BLAS has one thread, as implicit asks for: it brings its own."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")
