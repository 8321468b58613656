"""What evaluation asks of a model, of whichever library: a score for every item of the catalogue."""

from typing import Protocol

import numpy as np

from grela.data.histories import Cases, HistoryBatch
from grela.errors import ModelError

# B histories in a batch, N items of the catalogue


class Scorer(Protocol):
    """Scores all items as the next event of each history; it neither filters nor sorts."""

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float32 or float64 [B, N]; column j is dense item j + 1; -inf is allowed, NaN is not."""


def checked_scores(scorer: Scorer, cases: Cases) -> np.ndarray:
    """The scores [B, N] of all `cases`; `ModelError` when they have another shape or type, or hold NaN."""
    scores_BN = scorer.scores(cases.batch)
    if not isinstance(scores_BN, np.ndarray):
        raise ModelError(f"scorer returned {type(scores_BN).__name__}, expected a numpy array")
    expected = (len(cases), scorer.num_items)
    if scores_BN.shape != expected:
        raise ModelError(
            f"scorer returned scores of shape {scores_BN.shape} for {len(cases)} histories, "
            f"expected {expected}: one row per history, one column per item, without a column for padding"
        )
    if scores_BN.dtype not in (np.float32, np.float64):
        raise ModelError(f"scorer returned scores of type {scores_BN.dtype}, expected float32 or float64")
    _refuse_nan(scores_BN, cases)
    return scores_BN


def _refuse_nan(scores_BN: np.ndarray, cases: Cases) -> None:
    # A maximum is NaN if and only if its row holds one: one pass, no array of the size of the scores.
    rows = np.flatnonzero(np.isnan(scores_BN.max(axis=1)))
    if not rows.size:
        return
    row = int(rows[0])
    item = int(np.flatnonzero(np.isnan(scores_BN[row]))[0]) + 1
    histories = cases.histories
    user, raw_item = histories.users.decode([int(cases.users[row])])[0], histories.catalogue.decode([item])[0]
    raise ModelError(
        f"the score of item {raw_item!r} for user {user!r} is NaN ({rows.size} of {len(cases)} users of this "
        "block have NaN scores); a NaN has no rank: look for a diverged training or a division by zero in the model"
    )
