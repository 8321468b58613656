"""JSON lines: one object a line."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from grela.data.readers.scan import Chunk, Scan, shown
from grela.data.readers.text import Block, text_blocks
from grela.errors import ReadError, ValueInDataError

Value = str | int | float | None

_TYPES: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64()}


def open_json_lines(path: Path) -> Scan:
    """Open a file of one JSON object a line; the keys of the first are the header.

    Blank lines at the end are no rows; elsewhere they are an error, like a line that lacks a chosen key.
    """
    first = next(text_blocks(path)).data.partition(b"\n")[0]
    header = tuple(_object(path, 1, first))
    chunks = _Objects(path, header).chunks
    return Scan(str(path), header, "JSON lines, keys of line 1", typed=True, chunks=chunks)


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    if not line.strip():
        raise ReadError(
            f"{path}, line {number}: blank, expected a JSON object (blank lines may stand at the end only)"
        )
    try:
        value = json.loads(line, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ReadError(
            f"{path}, line {number}: not JSON ({error}): {shown(line[:50])}; expected one object a line"
        ) from error
    if not isinstance(value, dict):
        raise ReadError(
            f"{path}, line {number}: a JSON {_kind(value)}, expected an object such as "
            f'{{"user_id": 1, "item_id": 2, "timestamp": 3}}, one a line'
        )
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if any("\ud800" <= c <= "\udfff" for key in result for c in key):
        raise ValueError("half a surrogate pair in a key")
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} is there twice")
    return result


def _kind(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


@dataclass(frozen=True, eq=False)
class _Objects:
    path: Path
    header: tuple[str, ...]

    def chunks(self, columns: Sequence[int]) -> Iterator[Chunk]:
        """A pass over the rows: each column int64, float64 or string within a chunk, null where the file has null."""
        keys = [self.header[j] for j in columns]
        for block in text_blocks(self.path):
            arrays = self._by_arrow(block, keys) or self._one_by_one(block, keys)
            yield Chunk(arrays, block.first, "line")

    def _by_arrow(self, block: Block, keys: list[str]) -> tuple[pa.Array, ...] | None:
        """The fast way, for a block in which nothing is amiss; None if anything might be."""
        data, rows = block.data, block.num_lines
        if not (data.startswith(b"{") and data.endswith(b"}\n") and data.count(b"}\n{") == rows - 1):
            return None
        first = _object(self.path, block.first, data.partition(b"\n")[0])
        kinds = [_TYPES.get(type(first.get(key))) for key in keys]
        if None in kinds:
            return None
        options = pj.ParseOptions(
            explicit_schema=pa.schema(list(zip(keys, kinds, strict=True))), unexpected_field_behavior="ignore"
        )
        try:
            read = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
            table = pj.read_json(pa.BufferReader(data), read, options).combine_chunks()
            table.validate(full=True)
        except pa.ArrowException:
            return None
        if table.num_rows != rows or any(table.column(key).null_count for key in keys):
            return None
        return tuple(table.column(key).chunk(0) for key in keys)

    def _one_by_one(self, block: Block, keys: list[str]) -> tuple[pa.Array, ...]:
        """The definition: every line by itself."""
        rows = []
        for j, line in enumerate(block.data.split(b"\n")[:-1]):
            value = _object(self.path, block.first + j, line)
            rows.append([self._value(value, key, block.first + j) for key in keys])
        return tuple(
            self._array(key, list(column), block.first)
            for key, column in zip(keys, zip(*rows, strict=True), strict=True)
        )

    def _value(self, value: dict[str, Any], key: str, number: int) -> Value:
        if key not in value:
            raise ReadError(
                f"{self.path}, line {number}: no key {key!r}, only {shown(list(value))}; "
                f"line 1 has it, so expected it in every line"
            )
        got = value[key]
        if got is None:
            return None
        if type(got) not in _TYPES:
            raise self._bad(number, key, f"a JSON {_kind(got)} ({shown(got)})", "a string or a number")
        if isinstance(got, int) and not -(1 << 63) <= got < 1 << 63:
            raise self._bad(number, key, f"the integer {shown(got)}", "at most 64 bits, or a string")
        if isinstance(got, str) and any("\ud800" <= c <= "\udfff" for c in got):
            raise self._bad(number, key, f"half a surrogate pair in {shown(got)}", "text")
        assert isinstance(got, str | int | float)
        return got

    def _array(self, key: str, values: list[Value], first: int) -> pa.Array:
        there = [(j, value) for j, value in enumerate(values) if value is not None]
        if not there:
            return pa.nulls(len(values))
        start, model = there[0]
        for j, value in there:
            if isinstance(value, str) != isinstance(model, str):
                got = f"the {_kind(value)} {shown(value)}"
                raise self._bad(first + j, key, got, f"a {_kind(model)}, as in line {first + start}")
        if isinstance(model, str):
            return pa.array(values, pa.string())
        if any(isinstance(value, float) for _, value in there):
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        return pa.array(values, pa.int64())

    def _bad(self, number: int, key: str, got: str, expected: str) -> ValueInDataError:
        return ValueInDataError(
            f"{self.path}, line {number}: {key!r} is {got}, expected {expected}; correct the line"
        )
