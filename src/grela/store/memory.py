"""A store in this process's memory: the naive form that the others answer to, and for tests."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

from grela.store.checking import check_batch, check_user
from grela.store.protocol import (
    START,
    Append,
    Appended,
    LoggedEvent,
    NewEvent,
    Position,
    StoredState,
    Tail,
    new_generation,
)
from grela.store.seeding import Block, History, Progress, seed_in_blocks


@dataclass
class _User:
    generation: int
    events: list[LoggedEvent] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    state: tuple[str, StoredState] | None = None

    @property
    def position(self) -> Position:
        return Position(self.generation, len(self.events))

    def add(self, event: NewEvent) -> bool:
        """Whether the event was new."""
        if event.id in self.ids:
            return False
        if event.id is not None:
            self.ids.add(event.id)
        self.events.append(LoggedEvent(len(self.events) + 1, event.item, event.time, event.id))
        return True


class MemoryStore:
    """All that a `Store` is, but gone with the process."""

    def __init__(self) -> None:
        self._users: dict[str, _User] = {}
        self._progress: Progress | None = None
        self._lock = Lock()

    def append(self, batch: Sequence[Append]) -> list[Appended]:
        check_batch(batch)
        with self._lock:
            return [self._append(entry) for entry in batch]

    def read(self, user: str, known: Position = START) -> Tail:
        return self.tails([(user, known)])[0]

    def tails(self, asked: Sequence[tuple[str, Position]]) -> list[Tail]:
        for user, _ in asked:
            check_user(user, "tails")
        with self._lock:
            return [self._tail(user, known) for user, known in asked]

    def users(self) -> Iterator[str]:
        with self._lock:
            names = list(self._users)
        return iter(names)

    def delete(self, user: str) -> int:
        check_user(user, "delete")
        with self._lock:
            found = self._users.pop(user, None)
            return 0 if found is None else len(found.events)

    def compact(self) -> None:
        """Nothing of a deleted user is held."""

    def seeded(self) -> str | None:
        with self._lock:
            progress = self._progress
        return progress.fingerprint if progress is not None and progress.finished else None

    def seed(self, fingerprint: str, users: Iterable[History]) -> int:
        return 0 if self.seeded() == fingerprint else seed_in_blocks(fingerprint, users, self._seed_block)

    def close(self) -> None:
        """There is nothing to let go of."""

    def get_states(self, users: Sequence[str], model: str) -> list[StoredState | None]:
        with self._lock:
            return [self._state(user, model) for user in users]

    def put_states(self, model: str, states: Sequence[tuple[str, StoredState]]) -> None:
        with self._lock:
            for user, state in states:
                self._put(user, model, state)

    def _append(self, entry: Append) -> Appended:
        added = self._add(entry.user, entry.events)
        return Appended(self._tail(entry.user, entry.known), added)

    def _add(self, user: str, events: Sequence[NewEvent]) -> tuple[bool, ...]:
        if events and user not in self._users:
            self._users[user] = _User(new_generation())
        return tuple(self._users[user].add(event) for event in events)

    def _tail(self, user: str, known: Position) -> Tail:
        found = self._users.get(user)
        if found is None:
            return Tail(START, (), whole=True)
        whole = known.generation != found.generation or known.seq > len(found.events)
        return Tail(found.position, tuple(found.events[0 if whole else known.seq :]), whole)

    def _seed_block(self, block: Block) -> int:
        with self._lock:
            histories = block.after(self._progress)
            logged = sum(sum(self._add(user, events)) for user, events in histories)
            self._progress = block.reached(self._progress)
            return logged

    def _state(self, user: str, model: str) -> StoredState | None:
        found = self._users.get(user)
        if found is None or found.state is None or found.state[0] != model:
            return None
        return found.state[1]

    def _put(self, user: str, model: str, state: StoredState) -> None:
        found = self._users.get(user)
        if found is None or found.generation != state.position.generation:
            return
        before = self._state(user, model)
        if before is None or before.position.seq <= state.position.seq:
            found.state = (model, state)
