"""The embedded store: one SQLite file with a write-ahead log, synced before an append returns.

Why SQLite, and how it was measured: docs/store.md.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
from grela.store.sqlite_file import Turn, connect, create, prepare, stated

_PAGE = 1000

_POSITION = """
SELECT number, generation, (SELECT coalesce(max(seq), 0) FROM events WHERE user = number) FROM users WHERE user = ?
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
INSERT INTO events(user, seq, item, time, id) VALUES (?, ?, ?, ?, ?)
ON CONFLICT(user, id) WHERE id IS NOT NULL DO NOTHING
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
            return [_append(at, entry) for entry in batch]

    def read(self, user: str, known: Position = START) -> Tail:
        check_user(user, "read")
        with self._reading, stated(self.path):
            return _tail(self._reader, user, known)

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
            number, position = _position(at, user)
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
            logged = sum(sum(_append(at, Append(user, tuple(events))).added) for user, events in histories)
            after = block.reached(before)
            at.execute(
                "INSERT OR REPLACE INTO seeding VALUES (1, ?, ?, ?)",
                (after.fingerprint, after.users, after.finished),
            )
            return logged


def _append(at: sqlite3.Connection, entry: Append) -> Appended:
    number, before = _position(at, entry.user)
    if entry.events and before is START:
        before = Position(new_generation(), 0)
        number = at.execute(
            "INSERT INTO users(user, generation) VALUES (?, ?)", (entry.user, before.generation)
        ).lastrowid
    logged: list[LoggedEvent] = []
    added = tuple(_log(at, number, before.seq, event, logged) for event in entry.events)
    if entry.known == before or before.seq == 0:
        position = Position(before.generation, before.seq + len(logged))
        return Appended(Tail(position, tuple(logged), whole=before.seq == 0), added)
    return Appended(_tail(at, entry.user, entry.known), added)


def _log(
    at: sqlite3.Connection, number: int | None, before: int, event: NewEvent, logged: list[LoggedEvent]
) -> bool:
    """Whether the event was new; then it is logged, and the last of `logged`."""
    seq = before + len(logged) + 1
    if not at.execute(_LOG, (number, seq, event.item, event.time, event.id)).rowcount:
        return False
    logged.append(LoggedEvent(seq, event.item, event.time, event.id))
    return True


def _position(at: sqlite3.Connection, user: str) -> tuple[int | None, Position]:
    """The number of a user and where the events end; None and `START` for one who is not there."""
    row = at.execute(_POSITION, (user,)).fetchone()
    return (None, START) if row is None else (row[0], Position(row[1], row[2]))


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
