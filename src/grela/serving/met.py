"""The items a history has met, once each, with how often and where last: what the bias for repeats and a filter of
seen items read of a user.

A hash table, so that an event costs the same whatever was met before: linear probing from a multiplicative hash
(Knuth, The Art of Computer Programming, vol. 3, 6.4), never more than half full, doubled when it would be.
"""

from typing import Any

import numpy as np

# C places of the table, R items met

EMPTY = 0
LEAST_PLACES = 16
_MULTIPLIER = 2_654_435_769  # 2^32 divided by the golden ratio
_WORD = 0xFFFF_FFFF


class MetItems:
    """The table, int32 [C, 3]: item (1..N, or EMPTY), how often it was met, the place where last, from 0.

    `used` places are taken; `address` is where the table lies in memory, which changes when it grows.
    """

    __slots__ = ("address", "table", "used")

    def __init__(self, places: int = LEAST_PLACES) -> None:
        self._lay(np.zeros((places, 3), np.int32), 0)

    @classmethod
    def of(cls, history: np.ndarray) -> "MetItems":
        """What a whole history of items, int [T], has met."""
        items, from_end, counts = np.unique(history[::-1], return_index=True, return_counts=True)
        return cls.from_entries(np.stack([items, counts, len(history) - 1 - from_end], 1).astype(np.int32))

    @classmethod
    def from_entries(cls, entries: np.ndarray) -> "MetItems":
        """From what `entries` gives, int32 [R, 3], in any order; items must be distinct."""
        met = cls(_places_for(len(entries)))
        met._place(entries)
        return met

    def __reduce__(self) -> tuple[Any, ...]:
        return MetItems.from_entries, (self.entries(),)

    def __len__(self) -> int:
        return self.used

    def entries(self) -> np.ndarray:
        """What was met: int32 [R, 3] of item, count and last place, in no order that means anything."""
        entries: np.ndarray = self.table[self.table[:, 0] != EMPTY]
        return entries

    def add(self, items: np.ndarray, first: int) -> None:
        """Note the items [n] of events at the places first, first + 1, ...; the compiled step does the same."""
        for place, item in enumerate(items.tolist(), first):
            at = self._find(item)
            if self.table[at, 0] == EMPTY:
                if 2 * (self.used + 1) > len(self.table):
                    self.grow()
                    at = self._find(item)
                self.table[at, 0] = item
                self.used += 1
            self.table[at, 1] += 1
            self.table[at, 2] = place

    def grow(self) -> None:
        """Twice the places."""
        entries = self.entries()
        self._lay(np.zeros((2 * len(self.table), 3), np.int32), 0)
        self._place(entries)

    def copy(self) -> "MetItems":
        """The same, in memory of its own."""
        other = MetItems.__new__(MetItems)
        other._lay(self.table.copy(), self.used)
        return other

    def _lay(self, table: np.ndarray, used: int) -> None:
        self.table, self.used, self.address = table, used, table.ctypes.data

    def _find(self, item: int) -> int:
        """Where the item is, or would be."""
        mask = len(self.table) - 1
        at = (item * _MULTIPLIER & _WORD) >> _shift(len(self.table))
        while self.table[at, 0] not in (item, EMPTY):
            at = (at + 1) & mask
        return at

    def _place(self, entries: np.ndarray) -> None:
        """Put distinct items into an empty table, in the order of their hashes: each at its own, or behind the last.

        The last may run over the end; so many places at the beginning are theirs.
        """
        places, number = len(self.table), np.arange(len(entries))
        hashes = entries[:, 0].astype(np.uint32) * np.uint32(_MULTIPLIER)
        wanted = (hashes >> np.uint32(_shift(places))).astype(np.int64)
        order = np.argsort(wanted)
        over, before = 0, -1
        while over != before:
            at = number + np.maximum.accumulate(np.maximum(wanted[order], over) - number)
            over, before = int(np.count_nonzero(at >= places)), over
        self.table[at % places] = entries[order]
        self.used = len(entries)


def _places_for(items: int) -> int:
    return max(LEAST_PLACES, 1 << (2 * items - 1).bit_length()) if items else LEAST_PLACES


def _shift(places: int) -> int:
    return 33 - places.bit_length()
