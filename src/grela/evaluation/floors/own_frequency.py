"""What the user had most often, for data in which people repeat; everything else behind, by popularity.

    score_j = times j occurs in the history + (its last place, from 1) / (events of the history + 1)     if it occurs
            = its share of the events of the most frequent item and one more, so less than 1             if not

Known as personal and global top frequency, GP-TopFreq (Li et al., ACM TOIS 2023, arXiv 2109.14233); ties
go to what was had more recently.
"""

from dataclasses import dataclass

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split, train_item_counts
from grela.evaluation.train_counts import checked_train_counts

# B histories in a batch, N items of the catalogue


@dataclass(frozen=True, eq=False)
class OwnFrequency:
    """A `Scorer` by the history's own items first; train_counts: events of each item in training, int [N+1]."""

    train_counts: np.ndarray

    def __post_init__(self) -> None:
        checked_train_counts(self.train_counts, len(self.train_counts) - 1)

    @classmethod
    def fit(cls, split: Split) -> "OwnFrequency":
        """Count the training events."""
        return cls(train_item_counts(split))

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.train_counts) - 1

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float64 [B, N]."""
        scores_BN = np.tile(self.train_counts[1:] / (self.train_counts.max() + 1), (len(batch), 1))
        for b in np.flatnonzero(batch.lengths):
            newest_first = batch[int(b)][::-1]
            items, back, times = np.unique(newest_first, return_index=True, return_counts=True)
            place = len(newest_first) - back
            scores_BN[b, items - 1] = times + place / (len(newest_first) + 1)
        return scores_BN
