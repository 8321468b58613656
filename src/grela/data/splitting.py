"""Which events train, which validate and which test: leave-one-out, and one date for all users."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from grela.data.fingerprint import fingerprint
from grela.data.histories import Cases, Histories, user_blocks
from grela.data.instants import instant
from grela.errors import ConfigError, EmptyDataError

# U users, E events, N items of the catalogue

Part = Literal["valid", "test"]


@dataclass(frozen=True, eq=False)
class Split:
    """Histories cut in three: `[0, train_end)` trains, up to `valid_end` validates, up to `test_end` tests.

    The three are counts from each user's first event, int64 [U]. A part may be empty for a user.
    """

    histories: Histories
    kind: str
    train_end: np.ndarray
    valid_end: np.ndarray
    test_end: np.ndarray

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hex: equal for the same sequences split the same way (see `grela.data.fingerprint`)."""
        ends = {"train_end": self.train_end, "valid_end": self.valid_end, "test_end": self.test_end}
        return fingerprint(self.histories, self.kind, ends)

    @property
    def train_lengths(self) -> np.ndarray:
        """Training events per user, int64 [U]: the first of each history."""
        return self.train_end

    def bounds(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Where the part begins and ends, counted from each user's first event, int64 [U] each."""
        if part == "valid":
            return self.train_end, self.valid_end
        if part == "test":
            return self.valid_end, self.test_end
        raise ConfigError(f'part is {part!r}, expected "valid" or "test"')

    def cases(self, part: Part) -> Cases:
        """Users with events in the part and before it: all that came before, and the part as targets."""
        begin, end = self.bounds(part)
        users = np.flatnonzero((end > begin) & (begin > 0))
        start = self.histories.offsets[users]
        return Cases(self.histories, users, start + begin[users], start + end[users])

    def report(self) -> "SplitReport":
        """Count what the split gives, and whom it leaves out."""
        known = train_item_counts(self) > 0
        return SplitReport(
            kind=self.kind,
            fingerprint=self.fingerprint,
            users=len(self.histories),
            train_users=int(np.count_nonzero(self.train_end)),
            train_events=int(self.train_end.sum()),
            train_only_users=int(np.count_nonzero(self.test_end == self.train_end)),
            valid=_count_part(self, "valid", known),
            test=_count_part(self, "test", known),
        )


@dataclass(frozen=True)
class PartReport:
    """cases: users measured; targets: their events in the part; cold_targets: those of items that training
    never shows; cold_users: users with events in the part but none before it, who are no cases."""

    cases: int
    targets: int
    cold_targets: int
    cold_users: int

    def __str__(self) -> str:
        return (
            f"{self.cases:,} users, {self.targets:,} targets ({self.cold_targets:,} of items that never occur in "
            f"training); {self.cold_users:,} users left out for want of a history"
        )


@dataclass(frozen=True)
class SplitReport:
    """What a split gives. train_only_users have no event to be measured on."""

    kind: str
    fingerprint: str
    users: int
    train_users: int
    train_events: int
    train_only_users: int
    valid: PartReport
    test: PartReport

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        why = "too short to be tested, " if self.kind == "leave-one-out" else ""
        return [
            f"split: {self.kind}, fingerprint {self.fingerprint}",
            f"train: {self.train_users:,} users, {self.train_events:,} events; "
            f"{why}train only: {self.train_only_users:,} users",
            f"valid: {self.valid}",
            f"test: {self.test}",
        ]


def leave_one_out(histories: Histories) -> Split:
    """Each user's last event tests, the one before validates, the rest trains.

    Users with fewer than 3 events train only, with all their events. EmptyDataError when all are so short.
    """
    lengths = histories.lengths
    held_out = np.where(lengths >= 3, 1, 0)
    if not held_out.any():
        raise EmptyDataError(
            f"no user can be tested: leave-one-out needs 3 events of a user, the longest of {len(lengths):,} "
            f"histories has {lengths.max(initial=0)}; use more data"
        )
    return Split(histories, "leave-one-out", lengths - 2 * held_out, lengths - held_out, lengths)


def temporal(histories: Histories, *, valid_from: int | float | str, test_from: int | float | str) -> Split:
    """Events before `valid_from` train, those from `test_from` on test, those between validate.

    Both are numbers in the unit of `histories.times`, or ISO 8601 dates where that is "us" (UTC if no zone is
    given). ConfigError for anything else; EmptyDataError when nothing trains or nobody can be measured.
    """
    valid_time, test_time = (
        instant(value, name, histories.time_unit)
        for value, name in ((valid_from, "valid_from"), (test_from, "test_from"))
    )
    if not valid_time < test_time:
        raise ConfigError(f"valid_from={valid_from!r} must be before test_from={test_from!r}")
    ends = (_events_before(histories, valid_time), _events_before(histories, test_time), histories.lengths)
    split = Split(histories, "temporal", *ends)
    asked = f"valid_from={valid_from!r}, test_from={test_from!r}"
    times = histories.times
    span = f"the log runs from {_shown(histories, times.min())} to {_shown(histories, times.max())}"
    if not split.train_end.any():
        raise EmptyDataError(f"no event is left to train on with {asked}: {span}; choose later times")
    for part in ("valid", "test"):
        if not len(split.cases(part)):
            raise EmptyDataError(
                f"no user has events in {part} and before it with {asked}: {span}; choose others"
            )
    return split


def train_item_counts(split: Split) -> np.ndarray:
    """How often each item occurs in training, int64 [N+1]; index 0 is padding and counts nothing."""
    counts = np.zeros(split.histories.num_items + 1, np.int64)
    for items in _items_between(split.histories, np.zeros_like(split.train_end), split.train_end):
        counts += np.bincount(items, minlength=len(counts))
    return counts


def _count_part(split: Split, part: Part, known: np.ndarray) -> PartReport:
    begin, end = split.bounds(part)
    cases = split.cases(part)
    chosen = np.where(begin > 0, end, begin)
    cold = sum(
        int(np.count_nonzero(~known[items])) for items in _items_between(split.histories, begin, chosen)
    )
    cold_users = int(np.count_nonzero((end > begin) & (begin == 0)))
    return PartReport(len(cases), int((chosen - begin).sum()), cold, cold_users)


def _items_between(histories: Histories, begin: np.ndarray, end: np.ndarray) -> Iterator[np.ndarray]:
    """The items at `[begin, end)` of each history, block by block."""
    for first, last in user_blocks(histories.offsets):
        starts = histories.offsets[first : last + 1]
        position = np.arange(starts[0], starts[-1]) - np.repeat(starts[:-1], np.diff(starts))
        of_user = np.repeat(np.arange(first, last), np.diff(starts))
        yield histories.items[starts[0] : starts[-1]][
            (position >= begin[of_user]) & (position < end[of_user])
        ]


def _events_before(histories: Histories, time: int | float) -> np.ndarray:
    """How many of each user's events are before a time, int64 [U]."""
    if np.issubdtype(histories.times.dtype, np.integer):
        time = math.ceil(time)  # exact, where a comparison as floats would round large times
    before = np.zeros(len(histories), np.int64)
    for first, last in user_blocks(histories.offsets):
        starts = histories.offsets[first : last + 1]
        running = np.concatenate([[0], np.cumsum(histories.times[starts[0] : starts[-1]] < time)])
        before[first:last] = np.diff(running[starts - starts[0]])
    return before


def _shown(histories: Histories, time: int | float) -> str:
    return f"{np.datetime64(int(time), 'us')}" if histories.time_unit == "us" else f"{time}"
