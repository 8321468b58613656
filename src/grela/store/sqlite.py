"""The embedded store: one SQLite file with a write-ahead log, synced before an append returns.

Why SQLite, and how it was measured: docs/store.md.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

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
from grela.store.sqlite_file import Turn, connect, create, prepare, stated

_PAGE = 1000
# Rows of one statement.
_AT_ONCE = 1024

# Whatever takes a batch takes it as one statement with one row of answers: Python's lock is let go of at each step of a
# statement, and the thread that does so may wait for another's turn before it has it again. `rows` are placeholders.
_POSITIONS = """
WITH asked(place, name) AS (VALUES {rows})
SELECT json_group_array(json_array(
    place, number, generation, (SELECT coalesce(max(seq), 0) FROM events WHERE events.user = number)
)) FROM asked CROSS JOIN users ON users.user = name
"""

_TAKEN = """
WITH asked(place, number, name) AS (VALUES {rows})
SELECT json_group_array(place) FROM asked CROSS JOIN events ON user = number AND id = name
"""

# One statement, and so one moment: nobody can come between the position and the events.
_TAIL = """
WITH one AS (
    SELECT number, generation, last, generation != :generation OR :seq > last AS whole FROM (
        SELECT number, generation, (SELECT coalesce(max(seq), 0) FROM events WHERE user = number) AS last
        FROM users WHERE user = :user
    )
)
SELECT generation, last, whole, seq, item, time, id
FROM one LEFT JOIN events ON user = number AND seq > CASE WHEN whole THEN 0 ELSE :seq END ORDER BY seq
"""

_LOG = """
WITH new(user, seq, item, time, id) AS (VALUES {rows})
INSERT INTO events(user, seq, item, time, id) SELECT user, seq, item, time, id FROM new WHERE user IS NOT NULL
"""

_STATE = """
SELECT generation, seq, payload FROM users JOIN states ON states.user = users.number
WHERE users.user = ? AND model = ?
"""

_PUT = """
INSERT INTO states(user, model, seq, payload)
SELECT number, :model, :seq, :payload FROM users WHERE user = :user AND generation = :generation
ON CONFLICT(user) DO UPDATE SET model = excluded.model, seq = excluded.seq, payload = excluded.payload
WHERE excluded.model != states.model OR excluded.seq >= states.seq
"""


class SqliteStore:
    """A `Store` in the file `path`, beside which lie `path`-wal, `path`-shm and `path`-lock while it is open.

    For threads and processes of one machine, on a local disk. A process opens it after a fork, not before.
    durable: an append is synced to the disk before it returns; else it survives the death of the process but not a
        loss of power, which loses the last appends and no more.

    Raises StoreError if the file is foreign, damaged, of another version, or cannot be had.
    """

    def __init__(self, path: Path | str, *, durable: bool = True) -> None:
        self.path = Path(os.path.abspath(path))
        # A connection is used by one thread at a time: one to write, one to read meanwhile.
        self._writing, self._reading = Lock(), Lock()
        self._closed = False
        with stated(self.path):
            self._turn = Turn(self.path.with_name(self.path.name + "-lock"))
            try:
                self._open(durable)
            except BaseException:
                self._turn.close()
                raise

    def _open(self, durable: bool) -> None:
        with self._turn:
            create(self.path)
            self._writer = connect(self.path, synchronous="FULL" if durable else "NORMAL")
            try:
                prepare(self._writer, self.path)
            except BaseException:
                self._writer.close()
                raise
        # States are a cache: their commits need not reach the disk before the next event's.
        self._cache = connect(self.path, synchronous="NORMAL")
        self._reader = connect(self.path, synchronous="NORMAL")
        self._reader.execute("PRAGMA query_only = ON")

    def append(self, batch: Sequence[Append]) -> list[Appended]:
        check_batch(batch)
        with self._transaction(self._writer) as at:
            return _append(at, batch)

    def read(self, user: str, known: Position = START) -> Tail:
        return self.tails([(user, known)])[0]

    def tails(self, asked: Sequence[tuple[str, Position]]) -> list[Tail]:
        for user, _ in asked:
            check_user(user, "tails")
        with self._reading, stated(self.path):
            places = _places(self._reader, [user for user, _ in asked])
            return [
                Tail(known, (), whole=known == START)
                if known == place.position
                else _tail(self._reader, user, known)
                for (user, known), place in zip(asked, places, strict=True)
            ]

    def users(self) -> Iterator[str]:
        last, page = "", [""]
        while page:
            with self._reading, stated(self.path):
                rows = self._reader.execute(
                    "SELECT user FROM users WHERE user > ? ORDER BY user LIMIT ?", (last, _PAGE)
                ).fetchall()
            page = [user for (user,) in rows]
            yield from page
            last = page[-1] if page else last

    def delete(self, user: str) -> int:
        check_user(user, "delete")
        with self._transaction(self._writer) as at:
            ((number, position),) = _places(at, [user])
            for table, column in (("states", "user"), ("events", "user"), ("users", "number")):
                at.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608
            return position.seq

    def compact(self) -> None:
        """Write the file anew and empty its log. Needs as much room again; writers wait, readers do not."""
        with self._writing, stated(self.path), self._turn:
            self._writer.execute("VACUUM")
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("a reader has kept the log from being emptied; repeat")

    def seeded(self) -> str | None:
        with self._reading, stated(self.path):
            progress = _progress(self._reader)
        return progress.fingerprint if progress is not None and progress.finished else None

    def seed(self, fingerprint: str, users: Iterable[History]) -> int:
        return 0 if self.seeded() == fingerprint else seed_in_blocks(fingerprint, users, self._seed_block)

    def close(self) -> None:
        with self._writing, self._reading, stated(self.path):
            if self._closed:
                return
            self._closed = True
            # The last connection of all moves the log into the file, so that has its turn too.
            with self._turn:
                for connection in (self._reader, self._cache, self._writer):
                    connection.close()
            self._turn.close()

    def get_states(self, users: Sequence[str], model: str) -> list[StoredState | None]:
        with self._reading, stated(self.path):
            rows = [self._reader.execute(_STATE, (user, model)).fetchone() for user in users]
        return [None if row is None else StoredState(Position(row[0], row[1]), row[2]) for row in rows]

    def put_states(self, model: str, states: Sequence[tuple[str, StoredState]]) -> None:
        with self._transaction(self._cache) as at:
            at.executemany(
                _PUT,
                [
                    {"user": user, "model": model, "payload": state.payload, **state.position._asdict()}
                    for user, state in states
                ],
            )

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self._writing, stated(self.path), self._turn:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _seed_block(self, block: Block) -> int:
        with self._transaction(self._writer) as at:
            before = _progress(at)
            histories = block.after(before)
            batch = [Append(user, tuple(events)) for user, events in histories]
            logged = sum(sum(one.added) for one in _append(at, batch))
            after = block.reached(before)
            at.execute(
                "INSERT OR REPLACE INTO seeding VALUES (1, ?, ?, ?)",
                (after.fingerprint, after.users, after.finished),
            )
            return logged


class _Place(NamedTuple):
    """The number of a user and where the events end; None and `START` for one who is not there."""

    number: int | None
    position: Position


def _append(at: sqlite3.Connection, batch: Sequence[Append]) -> list[Appended]:
    done: list[Appended] = []
    while len(done) < len(batch):
        # As many entries at once as name each user once.
        users: dict[str, Append] = {}
        for entry in batch[len(done) :]:
            if entry.user in users:
                break
            users[entry.user] = entry
        done += _append_once(at, list(users.values()))
    return done


def _append_once(at: sqlite3.Connection, batch: Sequence[Append]) -> list[Appended]:
    """Entries of different users."""
    places = _places(at, [entry.user for entry in batch])
    taken = _taken(at, batch, places)
    rows: list[tuple[Any, ...]] = []
    done: list[tuple[Append, Position, list[LoggedEvent], tuple[bool, ...]]] = []
    for entry, (number, before) in zip(batch, places, strict=True):
        if entry.events and before is START:
            number, before = _new_user(at, entry.user)
        ids = taken.setdefault(entry.user, set())
        logged: list[LoggedEvent] = []
        added = tuple(_new(event, before.seq, ids, logged) for event in entry.events)
        rows += [(number, event.seq, event.item, event.time, event.id) for event in logged]
        done.append((entry, before, logged, added))
    for part in _parts(rows):
        _execute(at, _LOG, part, width=5)
    return [Appended(_tail_after(at, entry, before, logged), added) for entry, before, logged, added in done]


def _new(event: NewEvent, before: int, ids: set[str], logged: list[LoggedEvent]) -> bool:
    """Whether the event is new; then it is the last of `logged`. ids: those that the user has already."""
    if event.id in ids:
        return False
    if event.id is not None:
        ids.add(event.id)
    logged.append(LoggedEvent(before + len(logged) + 1, event.item, event.time, event.id))
    return True


def _tail_after(at: sqlite3.Connection, entry: Append, before: Position, logged: list[LoggedEvent]) -> Tail:
    if entry.known == before or before.seq == 0:
        position = Position(before.generation, before.seq + len(logged))
        return Tail(position, tuple(logged), whole=before.seq == 0)
    return _tail(at, entry.user, entry.known)


def _new_user(at: sqlite3.Connection, user: str) -> _Place:
    generation = new_generation()
    number = at.execute("INSERT INTO users(user, generation) VALUES (?, ?)", (user, generation)).lastrowid
    return _Place(number, Position(generation, 0))


def _places(at: sqlite3.Connection, users: Sequence[str]) -> list[_Place]:
    found = [_Place(None, START)] * len(users)
    for part in _parts(list(enumerate(users))):
        (text,) = _execute(at, _POSITIONS, part, width=2).fetchone()
        for place, number, generation, seq in json.loads(text):
            found[place] = _Place(number, Position(generation, seq))
    return found


def _taken(at: sqlite3.Connection, batch: Sequence[Append], places: Sequence[_Place]) -> dict[str, set[str]]:
    """The ids of the batch that events of their users have already."""
    asked = [
        (entry.user, number, event.id)
        for entry, (number, _) in zip(batch, places, strict=True)
        if number is not None
        for event in entry.events
        if event.id is not None
    ]
    taken: dict[str, set[str]] = {}
    for part in _parts([(place, number, id) for place, (_, number, id) in enumerate(asked)]):
        (text,) = _execute(at, _TAKEN, part, width=3).fetchone()
        for place in json.loads(text):
            user, _, id = asked[place]
            taken.setdefault(user, set()).add(id)
    return taken


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    for low in range(0, len(rows), _AT_ONCE):
        yield rows[low : low + _AT_ONCE]


def _execute(
    at: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]], *, width: int
) -> sqlite3.Cursor:
    """A statement over rows, filled up with rows of NULL to a power of two, so that few texts are compiled."""
    size = 1 << (len(rows) - 1).bit_length()
    values = [value for row in rows for value in row] + [None] * width * (size - len(rows))
    return at.execute(_over(statement, size, width), values)


@cache
def _over(statement: str, size: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.format(rows=", ".join([row] * size))


def _tail(at: sqlite3.Connection, user: str, known: Position) -> Tail:
    rows = at.execute(_TAIL, {"user": user, "generation": known.generation, "seq": known.seq}).fetchall()
    if not rows:
        return Tail(START, (), whole=True)
    generation, last, whole = rows[0][:3]
    events = tuple(LoggedEvent(*row[3:]) for row in rows if row[3] is not None)
    return Tail(Position(generation, last), events, bool(whole))


def _progress(at: sqlite3.Connection) -> Progress | None:
    row = at.execute("SELECT fingerprint, users, finished FROM seeding").fetchone()
    return None if row is None else Progress(row[0], row[1], bool(row[2]))
