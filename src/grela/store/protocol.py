"""What a store of live events is: the values that go in and out, and the two protocols.

Users and items are text in canonical form (an integer id as decimal text without leading zeros or plus); items are
raw ids, never dense ones, since another model has another catalogue. Times are numbers in the unit of the run's log.

A user's events are numbered in the order in which they were logged: seq 1, 2, ... without holes. A history is these
events by (time, seq), which is `chronological`: an event that comes late is logged as the last one and takes its
place by its time.

Every store keeps the same laws, written as tests in tests/store:

- What `append` has returned is durable, all of the batch or nothing of it.
- An event whose id this user has already is not logged again: whoever got no answer sends it once more. The first
  one with an id counts, whatever the second one says. Ids are forgotten when the user is deleted.
- Writers in threads, processes and, where the store is a server, machines lose nothing and double nothing, and each
  sees the others' events in its tails: folding the tails in order gives every writer the same history.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """How far a user's events have been seen: the first `seq` of them.

    generation is drawn when a user gets the first event, so that a user who was deleted and came back is never
    taken for the one of before.
    """

    generation: int
    seq: int


START = Position(0, 0)
"""Nothing has been seen; the position of a user who is not there."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be logged. id: what makes a repetition recognisable, or None for an event always new."""

    item: str
    time: int | float
    id: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log; `seq` counts the user's events from 1."""

    seq: int
    item: str
    time: int | float
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """A user's events to be logged in this order, and what the writer has seen of the user.

    Without events it only catches up, and makes no user.
    """

    user: str
    events: tuple[NewEvent, ...]
    known: Position = START


@dataclass(frozen=True, slots=True)
class Tail:
    """A user's events after the position asked with, by seq; `position` is where they end.

    whole: the position asked with is not of this user (or was `START`), so these are all the user's events and
    what was made of earlier ones is void.
    """

    position: Position
    events: tuple[LoggedEvent, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an `Append`: the tail with these events in it, and for each event whether it was new."""

    tail: Tail
    added: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class StoredState:
    """A user's state after the first `position.seq` events, as bytes that only its codec reads."""

    position: Position
    payload: bytes


class EventLog(Protocol):
    """Users' events, append only. Any method raises StoreError where the store cannot be read or written."""

    def append(self, batch: Sequence[Append]) -> list[Appended]:
        """Log a batch, one answer for each entry, durable when it returns: all of it or, on any error, nothing.

        A user may be named more than once; entries apply in order. Writers that find the store busy wait.
        Raises EventError, before anything is logged, for an event that cannot be (no text, an infinite time).
        """
        ...

    def read(self, user: str, known: Position = START) -> Tail:
        """`tails` of one user."""
        ...

    def tails(self, asked: Sequence[tuple[str, Position]]) -> list[Tail]:
        """Each user's events after a position; an empty whole tail at `START` for a user who is not there.

        What any writer had been answered for before the call is in them.
        """
        ...

    def users(self) -> Iterator[str]:
        """Each user with events, in no order that means anything; of users who come or go meanwhile, some."""
        ...

    def delete(self, user: str) -> int:
        """Remove the user's events and state, durably; returns how many events there were."""
        ...

    def compact(self) -> None:
        """Give free space back. Afterwards nothing of deleted users is in the store's files."""
        ...

    def seeded(self) -> str | None:
        """The fingerprint of the histories that `seed` has imported, or None before it was through."""
        ...

    def seed(self, fingerprint: str, users: Iterable[tuple[str, Sequence[NewEvent]]]) -> int:
        """Import histories, oldest event first, once; returns the events that this call has logged.

        An interrupted import goes on where it ended, when called again with the same users in the same order.
        Memory holds a few thousand events at a time. StoreError if histories of another fingerprint were
        imported, or begun.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections. Nothing is lost without it."""
        ...


class StateStore(Protocol):
    """One state per user, a cache: what is put may be gone at the next start, and is never wrong.

    A state is of one model, named by its fingerprint; a state of another model takes its place.
    """

    def get_states(self, users: Sequence[str], model: str) -> list[StoredState | None]:
        """The state of each user, or None where there is none of this model."""
        ...

    def put_states(self, model: str, states: Sequence[tuple[str, StoredState]]) -> None:
        """Keep these states, unless the user is no longer the one of the state's position.

        So a state that was computed while its user was being deleted is not kept. Of two states of one model the one
        that has seen more events stays.
        """
        ...


class Store(EventLog, StateStore, Protocol):
    """Both in one place, as every store here is."""


def chronological(events: Iterable[LoggedEvent]) -> list[LoggedEvent]:
    """The history: events by (time, seq), as a log of events is prepared for training."""
    return sorted(events, key=lambda event: (event.time, event.seq))


def new_generation() -> int:
    """1 .. 2^62, drawn by the system: two users in the same place never share it."""
    return 1 + secrets.randbelow(2**62)
