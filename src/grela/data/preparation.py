"""From validated events to histories: dense ids, stable order, filters, and an account of what was dropped."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import duckdb
import numpy as np
import pyarrow as pa

from grela.data.engine import Scratch, memory_bytes, scratch
from grela.data.filtering import Counts, Repeats, Step, count, drop_repeats, keep_core
from grela.data.histories import Histories
from grela.data.vocabulary import Vocabulary
from grela.errors import ConfigError, EmptyDataError, ValueInDataError

if TYPE_CHECKING:
    from grela.data.events import Events

# U users, E events, N items of the catalogue


@dataclass(frozen=True)
class Preparation:
    """Which events are kept, and how much memory may be taken.

    min_user_events, min_item_events: the k-core, to a fixed point; 1 keeps all
    repeats: "keep", "drop_consecutive" or "first" (see `filtering.drop_repeats`); judged before the k-core
    memory_limit: what the database may hold in memory, such as "1GB"; the rest goes to disk
    """

    min_user_events: int = 1
    min_item_events: int = 1
    repeats: Repeats = "keep"
    memory_limit: str = "1GB"

    def __post_init__(self) -> None:
        for name in ("min_user_events", "min_item_events"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**62:
                raise ConfigError(f"{name} is {value!r}, expected a whole number of at least 1 (1 keeps all)")
        if self.repeats not in get_args(Repeats):
            raise ConfigError(f"repeats is {self.repeats!r}, expected one of {', '.join(get_args(Repeats))}")
        memory_bytes(self.memory_limit)

    @property
    def filters(self) -> bool:
        """Whether there is a k-core to find."""
        return max(self.min_user_events, self.min_item_events) > 1


@dataclass(frozen=True)
class PreparationReport:
    """What the log held, and what each step dropped. A step that was not asked for is not listed."""

    name: str
    read: Counts
    steps: tuple[Step, ...]

    @property
    def kept(self) -> Counts:
        return self.steps[-1].after if self.steps else self.read

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "read": asdict(self.read),
            "steps": [step.to_json() for step in self.steps],
            "kept": asdict(self.kept),
        }

    def lines(self) -> list[str]:
        """For people: what was read, then one line a step."""
        return [f"{self.name}: {self.read}", *(str(step) for step in self.steps)]


KEEP_ALL = Preparation()
ARRAYS = ("items", "times", "offsets")


def prepare(
    events: "Events", settings: Preparation = KEEP_ALL, *, folder: Path | None = None
) -> tuple[Histories, PreparationReport]:
    """Turn a log into histories, in stable order (user, time, row of the log).

    Users and items are numbered in the order of their raw ids: integers by value, strings by their UTF-8 bytes.
    With `folder` (created if need be) the arrays are written there as items.npy, times.npy and offsets.npy and
    come back memory-mapped; the working files lie there too until the end. Without it all is in memory.

    Raises EmptyDataError when nothing is read or left, ConfigError when `memory_limit` is too small, DataError
    when the disk is full, and whatever the log itself raises while it is read.
    """
    if folder is not None:
        _make(folder)
    with scratch(settings.memory_limit, work=f"preparing {events.name}", folder=folder) as database:
        load_log(events, database)
        encode_log(database)
        report = _filter(events.name, settings, database)
        catalogue, item_of_code = _catalogue(database)
        times = events.schema.field("time").type
        histories = in_order(database, catalogue, item_of_code, times, events.time_unit, folder=folder)
    return histories, report


def in_order(
    database: Scratch,
    catalogue: Vocabulary,
    item_of_code: np.ndarray,
    time: pa.DataType,
    time_unit: str,
    *,
    folder: Path | None,
) -> Histories:
    """The histories of the database's tables users(raw, code) and events(row, u, i, time), as `prepare` gives them.

    item_of_code: the dense item of every code i, int32.
    """
    users, left = _vocabulary(database, "users", "u", first=0)
    with database.writing():
        lengths = left.column("n").to_numpy()
        np.save(database.folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        _write_events(database, int(lengths.sum()), item_of_code, np.dtype(time.to_pandas_dtype()))
        items, times, offsets = (_collect(database.folder, name, folder) for name in ARRAYS)
    return Histories(items, times, offsets, users, catalogue, time_unit)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"folder {folder} cannot be made: {error.strerror}; name another one") from error


class _NumberedRows:
    """The log's batches with their row numbers, counted from `first`; remembers what the log raised."""

    def __init__(self, events: "Events", first: int) -> None:
        self._events, self._first = events, first
        self.schema = pa.schema(
            [("row", pa.int64()), *(events.schema.field(n) for n in ("user", "item", "time"))]
        )
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._numbered()
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
            raise

    def _numbered(self) -> Iterator[pa.RecordBatch]:
        row = 0
        for batch in self._events.batches():
            columns = [batch.column(name) for name in self.schema.names[1:]]
            for name, column in zip(self.schema.names[1:], columns, strict=True):
                if column.null_count:
                    at = row + column.is_null().index(True).as_py()
                    raise ValueInDataError(
                        f"{self._events.name}: {name} is null at row {at}, expected a value"
                    )
            first = self._first + row
            rows = pa.array(np.arange(first, first + len(batch), dtype=np.int64))
            yield pa.RecordBatch.from_arrays([rows, *columns], schema=self.schema)
            row += len(batch)


def load_log(events: "Events", database: Scratch, *, first_row: int = 0) -> None:
    """Fill the table log(row, user, item, time), rows numbered from `first_row`; EmptyDataError for no rows."""
    source = _NumberedRows(events, first_row)
    database.connection.register("source", pa.RecordBatchReader.from_batches(source.schema, iter(source)))
    try:
        database.execute('CREATE TABLE log AS SELECT row, "user", item, time FROM source')
    except duckdb.Error:
        # What the log raised reaches DuckDB as text only.
        if source.error is not None:
            raise source.error from None
        raise
    if not database.number("SELECT count(*) FROM log"):
        raise EmptyDataError(f"{events.name} has no events, expected at least one")


def encode_log(database: Scratch) -> None:
    """Turn the table log into users(raw, code), items(raw, code), events(row, u, i, time); codes are ranks of ids."""
    for table, column in (("users", '"user"'), ("items", "item")):
        database.execute(
            f"CREATE TABLE {table} AS SELECT raw, (row_number() OVER (ORDER BY raw) - 1)::INTEGER AS code "  # noqa: S608
            f"FROM (SELECT DISTINCT {column} AS raw FROM log)"
        )
    database.execute(
        "CREATE TABLE events AS SELECT row, users.code AS u, items.code AS i, time FROM log "
        'JOIN users ON log."user" = users.raw JOIN items ON log.item = items.raw'
    )
    database.execute("DROP TABLE log")


def _filter(name: str, settings: Preparation, database: Scratch) -> PreparationReport:
    read = now = count(database)
    steps = []
    if settings.repeats != "keep":
        drop_repeats(database, settings.repeats)
        steps.append(Step("repeats", settings.repeats, now, count(database)))
        now = steps[-1].after
    if settings.filters:
        rounds = keep_core(
            database, min_user_events=settings.min_user_events, min_item_events=settings.min_item_events
        )
        steps.append(core_step(name, settings, rounds, now, count(database)))
    return PreparationReport(name, read, tuple(steps))


def core_step(name: str, settings: Preparation, rounds: int, before: Counts, after: Counts) -> Step:
    """What the k-core did to the log called `name`; EmptyDataError where it left nothing."""
    asked = f"min_user_events={settings.min_user_events}, min_item_events={settings.min_item_events}"
    if not after.events:
        raise EmptyDataError(
            f"{name}: the k-core with {asked} is empty: nothing is left of {before}; lower the two thresholds"
        )
    return Step("k-core", f"{asked}; rounds {rounds}", before, after)


def _vocabulary(database: Scratch, table: str, column: str, *, first: int) -> tuple[Vocabulary, pa.Table]:
    """Raw ids that still occur, in order, and their (code, events)."""
    left = database.stream(
        f"SELECT raw, code, n FROM {table} JOIN (SELECT {column} AS code, count(*) AS n FROM events "  # noqa: S608
        f"GROUP BY {column}) USING (code) ORDER BY code"
    ).read_all()
    kind = pa.int64() if pa.types.is_int64(left.schema.field("raw").type) else pa.string()
    return Vocabulary(left.column("raw").cast(kind).combine_chunks(), first), left.select(["code", "n"])


def _catalogue(database: Scratch) -> tuple[Vocabulary, np.ndarray]:
    """Items that still occur, and the dense id of every code, int32 (0 where the item is gone)."""
    catalogue, left = _vocabulary(database, "items", "i", first=1)
    item_of_code = np.zeros(database.number("SELECT count(*) FROM items"), np.int32)
    item_of_code[left.column("code").to_numpy()] = np.arange(1, len(catalogue) + 1, dtype=np.int32)
    return catalogue, item_of_code


def _write_events(
    database: Scratch, num_events: int, item_of_code: np.ndarray, time_dtype: np.dtype[Any]
) -> None:
    """Sort the events and write items.npy, int32 [E], and times.npy, [E], a batch at a time."""
    with (
        open(database.folder / "items.npy", "wb") as items,
        open(database.folder / "times.npy", "wb") as times,
    ):
        for file, dtype in ((items, np.dtype(np.int32)), (times, time_dtype)):
            header = {"descr": dtype.str, "fortran_order": False, "shape": (num_events,)}
            np.lib.format.write_array_header_1_0(file, header)
        # Plain writes: pages of a writable memory map would count as this process's memory.
        for batch in database.stream("SELECT i, time FROM events ORDER BY u, time, row"):
            items.write(item_of_code[batch.column("i").to_numpy()].data)
            times.write(np.ascontiguousarray(batch.column("time").to_numpy()).data)


def _collect(scratch_folder: Path, name: str, folder: Path | None) -> np.ndarray:
    """The array in memory, or moved to `folder` and mapped. A map of an older file there stays intact."""
    path = scratch_folder / f"{name}.npy"
    if folder is None:
        array: np.ndarray = np.load(path)
        return array
    target = folder / path.name
    os.replace(path, target)
    mapped: np.ndarray = np.load(target, mmap_mode="r")
    return mapped
