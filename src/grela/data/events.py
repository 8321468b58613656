"""Event logs: whatever they come as, (user, item, time) in file order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from grela.data.readers.columns import find_columns
from grela.data.readers.formats import EVENT_FORMATS, open_source
from grela.data.readers.ids import canonical_integers, padded_cores, read_ids, refuse_padded_twins
from grela.data.readers.scan import Chunk, Scan
from grela.data.readers.times import FLOAT, INTEGER, NUMBERS, read_times
from grela.errors import EmptyDataError, ReadError, ValueInDataError


@dataclass(frozen=True, eq=False)
class Events:
    """A log of (user, item, time), checked once from end to end, in the order of its source.

    name: for messages, the path or "data frame".
    schema: user and item (string or int64), time (int64 or float64); nothing is null.
    time_unit: "given" for numbers as they came, "us" for microseconds since 1970 UTC made from dates.
    batches: a new pass over the source, checked again row by row, in bounded memory.
    """

    name: str
    schema: pa.Schema
    time_unit: str
    batches: Callable[[], Iterator[pa.RecordBatch]]

    def table(self) -> pa.Table:
        """All events at once."""
        return pa.Table.from_batches(list(self.batches()), schema=self.schema)


def read_events(
    source: Any,
    *,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    format: str | None = None,
) -> Events:
    """Open an event log and check all of it.

    source: a path to CSV, TSV, Parquet, JSON lines, RecBole `.inter`, MovieLens `ratings.dat` or `u.data`, each also
        packed as .gz; or a data frame with the Arrow PyCapsule interface (polars, pandas, pyarrow, DuckDB).
    user, item, time: the columns' exact names; else their usual names are looked for.
    format: a key of `EVENT_FORMATS`, where the file's name does not tell.

    Ids come back as they went in. In text files a column of ids is integers if every one of them is a plain decimal
    integer of 64 bits ("7", not "007"), else strings. Times are numbers, or dates and times in ISO 8601 or Arrow
    types; what has no zone is taken as UTC. Blank lines may stand at the end of a text file only. No row is ever
    dropped: raises a DataError that names the source, the row, what was got, what was expected and what to do.
    """
    scan = open_source(source, EVENT_FORMATS, format)
    columns = find_columns(scan.name, scan.how, scan.header, {"user": user, "item": item, "time": time})
    log = _Log(scan, columns)
    facts = log.survey()
    types = (facts.user, facts.item, pa.float64() if facts.time == FLOAT else pa.int64())
    schema = pa.schema(list(zip(("user", "item", "time"), types, strict=True)))
    unit = "given" if facts.time in NUMBERS else "us"
    return Events(scan.name, schema, unit, lambda: log.batches(facts, schema))


@dataclass(frozen=True)
class _Facts:
    """What one pass over a whole log tells: types of ids, kind of time, number of rows."""

    user: pa.DataType
    item: pa.DataType
    time: str
    rows: int


@dataclass(frozen=True, eq=False)
class _Log:
    scan: Scan
    columns: tuple[int, ...]

    def survey(self) -> _Facts:
        """Read everything once: raise on the first bad value, and learn the types."""
        users, items, times = _IdType(self, 0), _IdType(self, 1), _TimeKind(self)
        rows = 0
        for chunk in self.chunks():
            users.see(chunk)
            items.see(chunk)
            times.see(chunk)
            rows += len(chunk)
        if rows == 0:
            raise EmptyDataError(f"{self.scan.name} has a header but no rows; expected events")
        for ids in (users, items):
            if ids.padded:
                place, column = ids.position, self.column(ids.position)
                refuse_padded_twins(self.chunks(), place, self.scan.name, column, ids.padded)
        return _Facts(users.type, items.type, times.kind, rows)

    def batches(self, facts: _Facts, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """A pass in the types of `schema`; raises if the source is no longer what it was in the survey."""
        rows = 0
        for chunk in self.chunks():
            users = self._as(chunk, 0, facts.user)
            items = self._as(chunk, 1, facts.item)
            read = read_times(chunk, 2, self.scan.name, self.column(2))
            if read.kind != facts.time and not (facts.time == FLOAT and read.kind == INTEGER):
                raise self._changed(chunk.place(0))
            yield pa.record_batch([users, items, read.values.cast(schema.field("time").type)], schema=schema)
            rows += len(chunk)
        if rows != facts.rows:
            raise self._changed(f"{rows} rows, {facts.rows} before")

    def chunks(self) -> Iterator[Chunk]:
        return self.scan.chunks(self.columns)

    def column(self, position: int) -> str:
        return self.scan.header[self.columns[position]]

    def ids(self, chunk: Chunk, position: int) -> pa.Array:
        return read_ids(chunk, position, self.scan.name, self.column(position))

    def _as(self, chunk: Chunk, position: int, kind: pa.DataType) -> pa.Array:
        values = self.ids(chunk, position)
        if values.type != kind:
            values = canonical_integers(values) if kind == pa.int64() else None
        if values is None:
            raise self._changed(chunk.place(0))
        return values

    def _changed(self, where: str) -> ReadError:
        return ReadError(
            f"{self.scan.name} changed while it was read ({where}); read it again when it is at rest"
        )


class _IdType:
    """The type of an id column over all chunks, int64 or string, and the ids with white space around them."""

    def __init__(self, log: _Log, position: int) -> None:
        self._log, self.position = log, position
        self.type: pa.DataType | None = None
        self.padded: set[str] = set()

    def see(self, chunk: Chunk) -> None:
        values = self._log.ids(chunk, self.position)
        if self._log.scan.typed:
            self._see_typed(values, chunk)
        elif self.type != pa.string():
            self.type = pa.string() if canonical_integers(values) is None else pa.int64()
        if self.type == pa.string():
            self.padded.update(padded_cores(values))

    def _see_typed(self, values: pa.Array, chunk: Chunk) -> None:
        if self.type is not None and values.type != self.type:
            got, before = (
                ("a string", "integers") if values.type == pa.string() else ("an integer", "strings")
            )
            raise ValueInDataError(
                f"{self._log.scan.name}, {chunk.place(0)}: {self._log.column(self.position)!r} is {got}, "
                f"but {before} before; make all of them one or the other"
            )
        self.type = values.type


class _TimeKind:
    """The kind of time over all chunks; integers among floats are floats, anything else mixed is an error."""

    def __init__(self, log: _Log) -> None:
        self._log = log
        self.kind = ""
        self._place = ""

    def see(self, chunk: Chunk) -> None:
        kind = read_times(chunk, 2, self._log.scan.name, self._log.column(2)).kind
        if not self.kind:
            self.kind, self._place = kind, chunk.place(0)
        elif kind in NUMBERS and self.kind in NUMBERS:
            self.kind = FLOAT if FLOAT in (kind, self.kind) else INTEGER
        elif kind != self.kind:
            raise ValueInDataError(
                f"{self._log.scan.name}, {chunk.place(0)}: {self._log.column(2)!r} is {kind}, but {self.kind} at "
                f"{self._place}; expected one kind of time in a column"
            )
