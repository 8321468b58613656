"""The events that simple models are fitted from, so many at a time that memory stays bounded."""

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
        raise EmptyDataError("the split has no training events to fit to; split at a later time")
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


def different_items(split: Split) -> HistoryBatch:
    """Each user's different training items, [U] histories in ascending order of item; times are not known."""
    size = split.histories.num_items + 1
    items, lengths = [], []
    for piece in pieces(training_histories(split)):
        user = np.repeat(np.arange(len(piece)), piece.lengths)
        different = np.unique(user * size + piece.items[places(piece)])
        items.append((different % size).astype(np.int32))
        lengths.append(np.bincount(different // size, minlength=len(piece)))
    return laid_end_to_end(np.concatenate(items), np.concatenate(lengths))


def laid_end_to_end(items: np.ndarray, lengths: np.ndarray) -> HistoryBatch:
    """Histories that lie one after the other in `items`; times are not known, and take no memory."""
    end = np.cumsum(lengths)
    return HistoryBatch(items, np.broadcast_to(np.nan, len(items)), end - lengths, end)
