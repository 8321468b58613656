"""The file of an SQLite store: opening, its format and version, whose turn it is to write, and what its errors say."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from grela.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

APPLICATION = 0x67724C61  # "grLa"
FORMAT = 1
# How long to wait for a process that writes without taking turns, or that reads while the log is cut off.
WAIT_SECONDS = 60.0

# Settings of a connection. fullfsync is for macOS, where a sync alone leaves data in the drive; secure_delete puts
# zeros over what is deleted; the log goes into the file every 100 pages, since the commit that is then waits for all of
# them, and keeps no more than 64 MiB when it is empty.
_SETTINGS = (
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    "secure_delete = ON",
    "journal_size_limit = 67108864",
    "wal_autocheckpoint = 100",
)

# Events lie by user and seq, so that a history is read from a few neighbouring pages. A column without a type keeps
# whole numbers whole.
_SCHEMA = (
    "CREATE TABLE users(number INTEGER PRIMARY KEY, user TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL)",
    "CREATE TABLE events(user INTEGER NOT NULL, seq INTEGER NOT NULL, item TEXT NOT NULL, time NOT NULL, id TEXT, "
    "PRIMARY KEY(user, seq)) WITHOUT ROWID",
    "CREATE UNIQUE INDEX event_ids ON events(user, id) WHERE id IS NOT NULL",
    "CREATE TABLE states(user INTEGER PRIMARY KEY, model TEXT NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL)",
    "CREATE TABLE seeding(one INTEGER PRIMARY KEY CHECK(one = 1), fingerprint TEXT NOT NULL, users INTEGER NOT NULL, "
    "finished INTEGER NOT NULL)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)


class Turn:
    """Held by the one process that writes or moves the log into the file.

    SQLite alone would keep writers apart too, but lets them ask again after sleeps of up to 100 ms, and before
    version 3.51.3 a commit beside two checkpoints can damage the file ("WAL-reset bug", sqlite.org/wal.html). The lock
    ends with its process. Without `fcntl` there is only SQLite's own.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> None:
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)


def connect(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """A connection to the file, which need not exist, with settings that are each connection's own."""
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for setting in (f"synchronous = {synchronous}", *_SETTINGS):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def create(path: Path) -> None:
    """An empty file that only its owner reads, unless there is one."""
    # One that exists is not opened here: closing it would drop SQLite's locks on it (howtocorrupt.html, 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Lay out an empty file; StoreError for one that is of another program or version. Call it in turn."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not (application or version or tables):
            for statement in _SCHEMA:
                connection.execute(statement)
        elif application != APPLICATION:
            raise StoreError(
                f"{path} is another program's SQLite file, expected a store or no file; give another path"
            )
        elif version != FORMAT:
            raise StoreError(
                f"{path} has format {version}, this version of grela reads {FORMAT}: use the version that made it"
            )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"{path} cannot have a write-ahead log (SQLite says {mode!r}): put it on a local disk"
        )


@contextmanager
def stated(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as StoreError that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}: {_advice(error)}") from error
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}: give a path in a folder that exists and may be written"
        ) from error


def _advice(error: sqlite3.Error) -> str:
    # The low byte of an extended code is the code; an error of the module alone has none.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return {
        sqlite3.SQLITE_FULL: "the disk is full; nothing of this call was logged; make room and repeat it",
        sqlite3.SQLITE_BUSY: f"something else has held it for {WAIT_SECONDS:.0f} s; find what has it open, or repeat",
        sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a copy",
        sqlite3.SQLITE_NOTADB: "this is no store, or its beginning is damaged; restore it or give another path",
        sqlite3.SQLITE_READONLY: "it may not be written; let the user of this process write it and its folder",
        sqlite3.SQLITE_CANTOPEN: "give a path in a folder that exists and may be written",
        sqlite3.SQLITE_IOERR: "the disk could not read or write it; see to the disk",
    }.get(code, "the store cannot be used")
