"""A DuckDB database in a scratch folder: memory bounded, spilling to disk, gone afterwards."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from grela.errors import ConfigError, DataError

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt])(i?)b", re.IGNORECASE)
_BYTES_PER_THREAD = 128 * 10**6  # DuckDB's own advice: 125 MB a thread at least


@dataclass(frozen=True)
class Scratch:
    """An open database and the folder it works in; anything left in the folder is deleted at the end."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    work: str

    def execute(self, sql: str) -> None:
        """Run one constant statement."""
        self.connection.execute(sql)

    def number(self, sql: str) -> int:
        """The one integer that a constant statement gives."""
        # All rows are fetched: DuckDB refuses further work while a result is unfinished.
        [(number,)] = self.connection.execute(sql).fetchall()
        return int(number)

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """The rows of a constant query, a batch at a time."""
        return pa.RecordBatchReader.from_stream(self.connection.sql(sql))

    def view(self, name: str, *files: Path) -> None:
        """Make the rows of Parquet files a view."""
        self.connection.read_parquet([str(file) for file in files]).create_view(name)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around writes of our own to the folder: DataError when they fail."""
        try:
            yield
        except OSError as error:
            raise _unwritable(self.work, self.folder.parent, error) from error


def memory_bytes(limit: str) -> int:
    """Bytes in a size like "1GB" or "512 MiB"; ConfigError otherwise."""
    match = _SIZE.fullmatch(limit.strip()) if isinstance(limit, str) else None
    size = 0
    if match:
        base = 1024 if match[3] else 1000
        size = int(float(match[1]) * base ** ("kmgt".index(match[2].lower()) + 1))
    if not size:
        raise ConfigError(f'memory_limit is {limit!r}, expected a size above zero such as "1GB" or "512MiB"')
    return size


@contextmanager
def scratch(
    memory_limit: str, *, work: str, folder: Path | None = None, threads: int | None = None
) -> Iterator[Scratch]:
    """Open a database that holds at most `memory_limit` in memory and spills the rest below `folder`.

    `folder` must exist; None is the system's folder for temporary files. Whatever happens, nothing stays behind.
    threads: at most so many; None is as many as there are cores.
    `work` names what is being done, for errors: ConfigError when it does not fit the limit, DataError when
    the working files cannot be written.
    """
    cores = threads or os.cpu_count() or 1
    threads = max(1, min(cores, memory_bytes(memory_limit) // _BYTES_PER_THREAD))
    place = folder or Path(tempfile.gettempdir())
    try:
        name = tempfile.mkdtemp(prefix=".grela-", dir=place)
    except OSError as error:
        raise _unwritable(work, place, error) from error
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": str(Path(name) / "spill"),
        "threads": threads,
        "preserve_insertion_order": False,
    }
    try:
        with duckdb.connect(str(Path(name) / "events.duckdb"), config=settings) as connection:
            # The file is deleted at the end, so nothing has to be brought in order before.
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")
            yield Scratch(connection, Path(name), work)
    except duckdb.OutOfMemoryException as error:
        what = f"{work} does not fit memory_limit={memory_limit!r}"
        raise ConfigError(f"{what} ({_first_line(error)}); raise the limit") from error
    except (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException) as error:
        raise _unwritable(work, place, error) from error
    finally:
        shutil.rmtree(name)


def _unwritable(work: str, place: Path, error: Exception) -> DataError:
    return DataError(
        f"{work} failed over its working files in {place}: {_first_line(error)}; they take up to about three "
        f"times the size of the events: free some space there, or name another folder"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
