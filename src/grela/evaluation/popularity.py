"""The floor to compare with: the same list for everybody, most popular items first."""

from dataclasses import dataclass

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split, train_item_counts
from grela.evaluation.train_counts import checked_train_counts


@dataclass(frozen=True, eq=False)
class Popularity:
    """A `Scorer` whose score is an item's number of training events, int [N+1] (entry 0 is padding)."""

    train_counts: np.ndarray

    def __post_init__(self) -> None:
        checked_train_counts(self.train_counts, len(self.train_counts) - 1)

    @classmethod
    def fit(cls, split: Split) -> "Popularity":
        """Count the training events."""
        return cls(train_item_counts(split))

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.train_counts) - 1

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float64 [B, N], every row the same; a read-only view, so it takes the memory of one row."""
        return np.broadcast_to(self.train_counts[1:].astype(np.float64), (len(batch), self.num_items))
