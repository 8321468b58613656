"""The same list for everybody, items popular of late first: an event's weight halves with its age.

    score_i = sum over training events of i of 2 ** (-(T - time) / half_life),   T the time of the last of them

The half-life is the one at which all events together weigh a tenth of their number: as short as leaves that much to
count, whatever the unit of time and however unevenly events are spread.
"""

from dataclasses import dataclass

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split
from grela.evaluation.training_events import pieces, places, training_histories

# B histories in a batch, E events, N items of the catalogue

SHARE = 0.1
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class RecentPopularity:
    """A `Scorer` whose score is the weight of an item's training events, float64 [N+1] (entry 0 is padding).

    half_life: in the log's unit of time; 0.0 where a tenth of the events, or more, share the last time: they alone
    count then
    """

    weights: np.ndarray
    half_life: float

    @classmethod
    def fit(cls, split: Split) -> "RecentPopularity":
        """Weigh the training events; 4 bytes of memory an event."""
        training = training_histories(split)
        last = max(piece.times[places(piece)].max() for piece in pieces(training) if piece.lengths.any())
        ages = np.concatenate([_ages(piece, last) for piece in pieces(training)])
        half_life = halving(ages)
        weights = np.zeros(split.histories.num_items + 1)
        low = 0
        for piece in pieces(training):
            items = piece.items[places(piece)]
            weights += np.bincount(
                items, _remaining(ages[low : low + len(items)], half_life), minlength=len(weights)
            )
            low += len(items)
        return cls(weights, half_life)

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.weights) - 1

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float64 [B, N], every row the same; a read-only view, so it takes the memory of one row."""
        return np.broadcast_to(self.weights[1:], (len(batch), self.num_items))


def halving(ages: np.ndarray) -> float:
    """The half-life at which events of these ages [E] weigh `SHARE` of their number; 0.0 if any is too long."""
    wanted = SHARE * len(ages)
    if np.count_nonzero(ages == 0) >= wanted:
        return 0.0
    # With the greatest age as half-life every event weighs a half or more.
    low, high = 0.0, float(ages.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _remaining(ages, middle).sum(dtype=np.float64) < wanted:
            low = middle
        else:
            high = middle
    return high


def _remaining(ages: np.ndarray, half_life: float) -> np.ndarray:
    remaining: np.ndarray = (
        np.exp2(-ages / np.float32(half_life)) if half_life else (ages == 0).astype(np.float32)
    )
    return remaining


def _ages(piece: HistoryBatch, last: int | float) -> np.ndarray:
    ages: np.ndarray = (last - piece.times[places(piece)]).astype(np.float32)
    return ages
