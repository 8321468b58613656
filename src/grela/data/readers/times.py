"""Times: numbers as they came, or microseconds since 1970 in UTC from dates and ISO 8601."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grela.data.readers.ids import as_string, decoded, is_text
from grela.data.readers.scan import Chunk, first_failure, first_true, shown
from grela.errors import ValueInDataError

INTEGER, FLOAT, LOCAL, ZONED = "an integer", "a float", "a date or time without zone", "a time with zone"
NUMBERS = (INTEGER, FLOAT)

_LIMIT = 1 << 62
_EARLIEST = np.datetime64("1900-01-01", "us").astype(np.int64)
_LATEST = np.datetime64("2200-01-01", "us").astype(np.int64)
_DAY = 86_400_000_000
_LOCAL = r"^\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?$"
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)$"
_EXPECTED = "a finite number or an ISO 8601 date or time such as 2024-02-29T12:00:00Z"


@dataclass(frozen=True, eq=False)
class Times:
    """The times of a chunk: what kind they are, and int64 or float64 values (microseconds if not numbers)."""

    kind: str
    values: pa.Array


def read_times(chunk: Chunk, position: int, name: str, column: str) -> Times:
    """The times of one column of a chunk, checked.

    Numbers are finite and below 2^62 in size and stay as they are. Dates, Arrow timestamps of any unit and ISO 8601
    text lie in 1900..2199 and become microseconds since 1970 UTC, finer digits cut off; without a zone they are
    taken as UTC. Raises ValueInDataError at the first null, absurd or unreadable value, and where the kind changes.
    """
    values = decoded(chunk.columns[position])
    where = _Where(chunk, name, column)
    if values.null_count:
        raise where.bad(first_true(values.is_null()), "a null", "a time")
    if is_text(values.type):
        return _from_text(as_string(values, chunk, name, column), where)
    if pa.types.is_integer(values.type):
        return _from_integers(values, where)
    if pa.types.is_floating(values.type):
        return _from_floats(values.cast(pa.float64()), values, where)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return _from_arrow(values, where)
    raise ValueInDataError(
        f"{name}: column {column!r} at {chunk.place(0)} is {values.type} ({shown(values[0].as_py())}), "
        f"expected integers, floats, dates, timestamps or ISO 8601 text; cast it"
    )


@dataclass(frozen=True, eq=False)
class _Where:
    chunk: Chunk
    name: str
    column: str

    def bad(self, j: int, got: str, expected: str) -> ValueInDataError:
        place = f"{self.name}, {self.chunk.place(j)}"
        return ValueInDataError(
            f"{place}: column {self.column!r} has {got}, expected {expected}; correct or remove the row"
        )


def _from_integers(values: pa.Array, where: _Where) -> Times:
    size = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    _refuse(np.abs(size) >= _LIMIT, values, where)
    return Times(INTEGER, values.cast(pa.int64()))


def _from_floats(floats: pa.Array, given: pa.Array, where: _Where) -> Times:
    size = floats.to_numpy(zero_copy_only=False)
    _refuse(~(np.abs(size) < _LIMIT), given, where)
    return Times(FLOAT, floats)


def _refuse(absurd: np.ndarray, given: pa.Array, where: _Where) -> None:
    if absurd.any():
        j = int(absurd.argmax())
        raise where.bad(j, f"the absurd time {shown(given[j].as_py())}", "a finite number below 2^62 in size")


def _from_arrow(values: pa.Array, where: _Where) -> Times:
    if pa.types.is_date(values.type):
        values = values.cast(pa.date32()) if pa.types.is_date64(values.type) else values
        ticks, per_day, kind = (
            values.cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int64),
            1,
            LOCAL,
        )
    else:
        per_day = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[values.type.unit] * 86_400
        ticks = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
        kind = LOCAL if values.type.tz is None else ZONED
    _refuse_years(ticks, per_day, where)
    micros = ticks * (_DAY // per_day) if per_day <= _DAY else ticks // (per_day // _DAY)
    return Times(kind, pa.array(micros, pa.int64()))


def _refuse_years(ticks: np.ndarray, per_day: int, where: _Where) -> None:
    absurd = (ticks < int(_EARLIEST) // _DAY * per_day) | (ticks >= int(_LATEST) // _DAY * per_day)
    if absurd.any():
        j = int(absurd.argmax())
        days = int(ticks[j]) // per_day
        raise where.bad(j, f"the absurd date {_date(days)}", "a date from 1900 to 2199")


def _date(days: int) -> str:
    inside = abs(days) < 10_000_000
    return str(np.datetime64(days, "D")) if inside else f"{days} days from 1970"


def _from_text(strings: pa.Array, where: _Where) -> Times:
    strings = pc.utf8_trim_whitespace(strings)
    try:
        if not pc.any(pc.match_substring(strings, "x", ignore_case=True), min_count=0).as_py():
            return _from_integers(strings.cast(pa.int64()), where)
    except pa.ArrowException:
        pass  # not all are integers; floats and ISO 8601 follow
    try:
        return _from_floats(strings.cast(pa.float64()), strings, where)
    except pa.ArrowException:
        return _from_iso(strings, where)


def _from_iso(strings: pa.Array, where: _Where) -> Times:
    kind = _kind(strings[0].as_py())
    if kind is None:
        raise where.bad(0, shown(strings[0].as_py()), _EXPECTED)
    if kind in NUMBERS:
        j = first_failure(strings, lambda part: part.cast(pa.float64()))
        raise _mixed(strings, j, kind, where)
    same = pc.match_substring_regex(strings, _ZONED if kind == ZONED else _LOCAL)
    j = first_true(pc.invert(same))
    if j >= 0:
        raise _mixed(strings, j, kind, where)
    # Arrow refuses more digits than the unit holds, so what is finer than a microsecond is cut off here.
    strings = pc.replace_substring_regex(strings, r"(\.\d{6})\d+", r"\1")
    target = pa.timestamp("us", "UTC") if kind == ZONED else pa.timestamp("us")
    try:
        stamps = strings.cast(target)
    except pa.ArrowException as error:
        j = first_failure(strings, lambda part: part.cast(target))
        raise where.bad(j, shown(strings[j].as_py()), "a date and time of the calendar") from error
    return Times(kind, _from_arrow(stamps, where).values)


def _mixed(strings: pa.Array, j: int, kind: str, where: _Where) -> ValueInDataError:
    text = strings[j].as_py()
    if _kind(text) is None:
        return where.bad(j, shown(text), _EXPECTED)
    return where.bad(j, shown(text), f"{kind} as at {where.chunk.place(0)} (one kind of time in a column)")


def _kind(text: str) -> str | None:
    if "x" in text.lower():
        return None  # Arrow reads 0x10 as an integer
    one = pa.array([text], pa.string())
    for kind, target in ((INTEGER, pa.int64()), (FLOAT, pa.float64())):
        try:
            one.cast(target)
        except pa.ArrowException:
            continue
        return kind
    for kind, pattern in ((LOCAL, _LOCAL), (ZONED, _ZONED)):
        if pc.match_substring_regex(one, pattern)[0].as_py():
            return kind
    return None
