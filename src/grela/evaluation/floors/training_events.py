"""The events that a floor is fitted from, so many at a time that memory stays bounded."""

from collections.abc import Iterator

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split
from grela.errors import EmptyDataError

# U users, E events

PIECE_EVENTS = 1 << 22


def training_histories(split: Split) -> HistoryBatch:
    """Each user's training events, [U], some perhaps empty; `EmptyDataError` where all are."""
    if not split.train_end.any():
        raise EmptyDataError(
            "the split has no training events, a floor is fitted from them; split at a later time"
        )
    histories = split.histories
    start = histories.offsets[:-1]
    return HistoryBatch(histories.items, histories.times, start, start + split.train_end)


def pieces(batch: HistoryBatch, *, events: int = PIECE_EVENTS) -> Iterator[HistoryBatch]:
    """The histories in order, as many at a time as have `events` together, or a single longer one."""
    ends = np.cumsum(batch.lengths)
    low = 0
    while low < len(batch):
        before = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + events, side="right")))
        yield batch.take(slice(low, high))
        low = high


def places(batch: HistoryBatch) -> np.ndarray:
    """Where the events lie in the batch's flat arrays, int64 [E], one history after the other."""
    lengths = batch.lengths
    ends = np.cumsum(lengths)
    at: np.ndarray = np.repeat(batch.start - (ends - lengths), lengths) + np.arange(lengths.sum())
    return at
