"""The import of a run's histories into a log: in blocks, each atomic, so that it may end anywhere and go on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from grela.errors import StoreError
from grela.store.checking import check_events, check_user
from grela.store.protocol import NewEvent

BLOCK_EVENTS = 4096

History = tuple[str, Sequence[NewEvent]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the import of the histories with this fingerprint is: `users` of them are in the log."""

    fingerprint: str
    users: int
    finished: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Users first, first + 1, ... of an import; `last`: none follow."""

    fingerprint: str
    first: int
    histories: tuple[History, ...]
    last: bool

    def after(self, progress: Progress | None) -> tuple[History, ...]:
        """What of the block is not in the log yet; StoreError if the log has histories of another fingerprint."""
        if progress is None:
            return self.histories
        if progress.fingerprint != self.fingerprint:
            state = "has" if progress.finished else f"has {progress.users:,} users of an unfinished import of"
            raise StoreError(
                f"the store {state} the histories {progress.fingerprint[:12]}, not {self.fingerprint[:12]}: "
                "give the run that it began with, or a new store"
            )
        return () if progress.finished else self.histories[max(0, progress.users - self.first) :]

    def reached(self, progress: Progress | None) -> Progress:
        """The progress once the block is in the log, where it was `progress` before."""
        here = Progress(self.fingerprint, self.first + len(self.histories), self.last)
        return here if progress is None or (progress.users < here.users or here.finished) else progress


def seed_in_blocks(fingerprint: str, users: Iterable[History], commit: Callable[[Block], int]) -> int:
    """Give `commit` one block after the other; returns the sum of what it returns, the events logged.

    `commit` logs `block.after(progress)` and keeps `block.reached(progress)`, both in one transaction. Two processes
    that import the same histories thereby share the work.
    """
    return sum(commit(block) for block in blocks(fingerprint, users))


def blocks(fingerprint: str, users: Iterable[History]) -> Iterator[Block]:
    """Whole users, until a block has `BLOCK_EVENTS`; the last block may be empty."""
    first, size = 0, 0
    held: list[History] = []
    for number, (user, events) in enumerate(users):
        if size >= BLOCK_EVENTS:
            yield Block(fingerprint, first, tuple(held), last=False)
            first, size, held = number, 0, []
        check_user(user, f"user {number} of the histories")
        check_events(events, f"user {number} of the histories")
        held.append((user, events))
        size += 1 + len(events)
    yield Block(fingerprint, first, tuple(held), last=True)
