"""Users' histories as flat arrays: the one form in which events reach models and evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from grela.data.vocabulary import Vocabulary
from grela.ops.gaps import NO_TIME, gap_buckets

# U users, E events, N items of the catalogue, B histories in a batch

_BLOCK_EVENTS = 1 << 22


@dataclass(frozen=True, eq=False)
class Histories:
    """Every user's events in stable order (user, time, row of the log).

    items:   int32 [E], dense item ids 1..N; 0 is padding and never occurs here
    times:   int64 or float64 [E], as `Events.time_unit` says
    offsets: int64 [U+1]; user u's events are `items[offsets[u]:offsets[u + 1]]`
    users, catalogue: raw ids; dense user ids count from 0, dense item ids from 1
    removed: int64, dense items that histories hold but that are never recommended

    The arrays may be memory-mapped: nothing here copies them.
    """

    items: np.ndarray
    times: np.ndarray
    offsets: np.ndarray
    users: Vocabulary
    catalogue: Vocabulary
    time_unit: str = "given"
    removed: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, user: int) -> np.ndarray:
        """The items of one dense user id, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def times_of(self, user: int) -> np.ndarray:
        """The times of one dense user id's events, oldest first."""
        return self.times[self.offsets[user] : self.offsets[user + 1]]

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.catalogue)

    @property
    def num_events(self) -> int:
        return int(self.offsets[-1])

    @property
    def lengths(self) -> np.ndarray:
        """Events per user, int64 [U]."""
        return np.diff(self.offsets)


def user_blocks(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of users (first, last + 1) that hold few enough events to work on in memory, or are one user.

    offsets: int64 [U + 1], as of `Histories`.
    """
    first = 0
    while first < len(offsets) - 1:
        fitting = int(np.searchsorted(offsets, offsets[first] + _BLOCK_EVENTS, side="right")) - 1
        last = max(first + 1, fitting)
        yield first, last
        first = last


@dataclass(frozen=True, eq=False)
class HistoryBatch:
    """B histories to be scored: slices `start[b]:end[b]` of shared flat arrays, oldest first, no targets.

    times may be `NO_TIME` (or NaN) where none is known.
    """

    items: np.ndarray
    times: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, b: int) -> np.ndarray:
        """The items of history b."""
        return self.items[self.start[b] : self.end[b]]

    @property
    def lengths(self) -> np.ndarray:
        """Events per history, int64 [B]."""
        lengths: np.ndarray = self.end - self.start
        return lengths

    @property
    def gaps(self) -> np.ndarray:
        """The bucket of each event's gap (`grela.ops.gaps`), uint8, of the histories one after the other."""
        times = [self.times[low:high] for low, high in zip(self.start, self.end, strict=True)]
        ends = np.cumsum(self.lengths)
        return gap_buckets(np.concatenate([self.times[:0], *times]), ends - self.lengths)

    def take(self, which: np.ndarray | slice) -> "HistoryBatch":
        """The histories chosen by index, mask or slice."""
        return HistoryBatch(self.items, self.times, self.start[which], self.end[which])

    @staticmethod
    def of(histories: list[np.ndarray], times: list[np.ndarray] | None = None) -> "HistoryBatch":
        """From separate item arrays, with their times where they are known (all `NO_TIME` where they are not)."""
        lengths = np.array([len(h) for h in histories], dtype=np.int64)
        end = np.cumsum(lengths)
        items = np.concatenate([np.zeros(0, np.int32), *(np.asarray(h, np.int32) for h in histories)])
        at = (
            np.full(len(items), NO_TIME) if times is None else np.concatenate([np.zeros(0, np.int64), *times])
        )
        return HistoryBatch(items, at, end - lengths, end)


@dataclass(frozen=True, eq=False)
class Cases:
    """C histories, each with the events that followed: `history_end[c]:target_end[c]` of the same arrays.

    users: int64 [C], dense user ids. Every case has at least one target.
    """

    histories: Histories
    users: np.ndarray
    history_end: np.ndarray
    target_end: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    @property
    def batch(self) -> HistoryBatch:
        """The histories alone, as a scorer may see them."""
        h = self.histories
        return HistoryBatch(h.items, h.times, h.offsets[self.users], self.history_end)

    def targets(self, c: int) -> np.ndarray:
        """The items that followed history c, in order."""
        return self.histories.items[self.history_end[c] : self.target_end[c]]

    def take(self, which: np.ndarray | slice) -> "Cases":
        """The cases chosen by index, mask or slice."""
        return Cases(self.histories, self.users[which], self.history_end[which], self.target_end[which])
