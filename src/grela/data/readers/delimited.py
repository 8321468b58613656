"""CSV and its relatives: one event a line, fields split at a delimiter."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from grela.data.readers.scan import Chunk, Scan, shown
from grela.data.readers.text import Block, text_blocks
from grela.errors import ReadError

# Stands for "::" inside a block, since Arrow splits at single bytes only; it never occurs in clean text.
_UNIT_SEPARATOR = b"\x1f"


@dataclass(frozen=True)
class Dialect:
    """How a delimited format is written.

    delimiter: None means: the first of , tab ; | in the header.
    quotes: whether a field may be quoted (RFC 4180), and so hold delimiters and line breaks.
    columns: their names where the format has no header; None where the first line holds them.
    typed_header: whether header fields are `name:type` (RecBole).
    latin_1: whether a file that is not UTF-8 is latin-1.
    """

    title: str
    delimiter: str | None
    quotes: bool = True
    columns: tuple[str, ...] | None = None
    typed_header: bool = False
    latin_1: bool = False


def open_delimited(path: Path, dialect: Dialect) -> Scan:
    """Open a file of this dialect: every value is text.

    Blank lines at the end are no rows; elsewhere they are an error, like a line with too few or too many fields.
    """
    if dialect.columns is not None:
        header, delimiter = dialect.columns, dialect.delimiter or ","
    else:
        header, delimiter = _header(path, dialect)
    how = f"{dialect.title}, split at {'tab' if delimiter == chr(9) else repr(delimiter)}"
    table = _Table(path, dialect, header, delimiter)
    return Scan(str(path), header, how, typed=False, chunks=table.chunks)


def _header(path: Path, dialect: Dialect) -> tuple[tuple[str, ...], str]:
    line = next(text_blocks(path, latin_1=dialect.latin_1)).data.partition(b"\n")[0].decode()
    if not line.strip():
        raise ReadError(f"{path}, line 1: blank, expected a header that names the columns")
    delimiter = dialect.delimiter or next((c for c in line if c in ",\t;|"), ",")
    try:
        names = (
            next(csv.reader([line], delimiter=delimiter, strict=True))
            if dialect.quotes
            else line.split(delimiter)
        )
    except csv.Error as error:
        raise ReadError(f"{path}, line 1: the header cannot be split at {delimiter!r}: {error}") from error
    if dialect.typed_header:
        names = [name.partition(":")[0] for name in names]
    return tuple(name.strip() for name in names), delimiter


@dataclass(frozen=True, eq=False)
class _Table:
    path: Path
    dialect: Dialect
    header: tuple[str, ...]
    delimiter: str

    def chunks(self, columns: Sequence[int]) -> Iterator[Chunk]:
        """A pass over the rows: text columns with their line numbers."""
        blocks = self._rows()
        for block in blocks:
            if self.dialect.quotes and b'"' in block.data:
                yield from self._quoted(block, blocks, columns)
            else:
                yield self._plain(block, columns)

    def _rows(self) -> Iterator[Block]:
        blocks = text_blocks(self.path, latin_1=self.dialect.latin_1)
        if self.dialect.columns is None:
            head = next(blocks)
            rest = head.data.partition(b"\n")[2]
            if rest:
                yield Block(rest, head.first + 1)
        yield from blocks

    def _plain(self, block: Block, columns: Sequence[int]) -> Chunk:
        """Rows without quotes: a line each, split by Arrow."""
        data, separator = block.data, self.delimiter.encode()
        if b"\n\n" in data or data.startswith(b"\n") or b"\r" in data:
            raise self._explain(block)
        if len(separator) > 1:
            if _UNIT_SEPARATOR in data:
                raise self._explain(block)
            data, separator = data.replace(separator, _UNIT_SEPARATOR), _UNIT_SEPARATOR
        names = [str(j) for j in range(len(self.header))]
        chosen = [names[j] for j in columns]
        try:
            table = pv.read_csv(
                pa.BufferReader(data),
                pv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
                pv.ParseOptions(delimiter=separator.decode(), quote_char=False, escape_char=False),
                pv.ConvertOptions(
                    include_columns=chosen, column_types=dict.fromkeys(chosen, pa.string()), check_utf8=False
                ),
            )
        except pa.ArrowException as error:
            raise self._explain(block) from error
        if table.num_rows != block.num_lines:
            raise self._explain(block)
        return Chunk(tuple(_whole(table.column(name)) for name in chosen), block.first, "line")

    def _explain(self, block: Block) -> ReadError:
        """The first line that made Arrow refuse a block, by looking at each."""
        for j, line in enumerate(block.data.decode().split("\n")[:-1]):
            if "\r" in line:
                return self._bad(
                    block.first + j, "a carriage return without a line feed", "lines that end in LF or CR LF"
                )
            if len(self.delimiter) > 1 and "\x1f" in line:
                return self._bad(block.first + j, "the control character 0x1f", "text")
            fields = line.split(self.delimiter)
            if len(fields) != len(self.header) or not line:
                return self._wrong_fields(block.first + j, fields)
        return self._bad(block.first, "lines that cannot be split", f"{len(self.header)} fields in each")

    def _wrong_fields(self, line: int, fields: Sequence[str]) -> ReadError:
        if not any(fields):
            return self._bad(line, "a blank line", "a row (blank lines may stand at the end only)")
        got = f"{len(fields)} field{'s' * (len(fields) != 1)} ({shown(self.delimiter.join(fields))})"
        return self._bad(line, got, f"{len(self.header)}, split at {self.delimiter!r}")

    def _bad(self, line: int, got: str, expected: str) -> ReadError:
        return ReadError(
            f"{self.path}, line {line}: got {got}, expected {expected}; correct or remove the line"
        )

    def _quoted(self, block: Block, more: Iterator[Block], columns: Sequence[int]) -> Iterator[Chunk]:
        """Rows from a block with quotes, and from the following ones for as long as a quoted field runs into them."""
        lines = _Lines(block, more)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        while lines.left:
            picked: list[list[str]] = []
            numbers: list[int] = []
            blocks_before = lines.blocks_read
            while lines.left and lines.blocks_read == blocks_before:
                line = lines.number
                fields = self._next(reader, line)
                if len(fields) != len(self.header):
                    raise self._wrong_fields(line, fields)
                picked.append([fields[j] for j in columns])
                numbers.append(line)
            arrays = tuple(pa.array(column, pa.string()) for column in zip(*picked, strict=True))
            yield Chunk(arrays, numbers[0], "line", np.array(numbers, dtype=np.int64))

    def _next(self, reader: "Iterator[list[str]]", line: int) -> list[str]:
        try:
            return next(reader)
        except StopIteration:
            raise self._bad(line, "a quote that is never closed", "a closing quote") from None
        except csv.Error as error:
            got = f"quoting that cannot be read ({error})"
            expected = 'every quote closed before the next delimiter, and "" for a quote within quotes'
            raise self._bad(line, got, expected) from error


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


class _Lines:
    """The lines of a block, and of further blocks only when a reader asks for them in the middle of a row."""

    def __init__(self, block: Block, more: Iterator[Block]) -> None:
        self._more = more
        self.blocks_read = 0
        self._load(block)

    def _load(self, block: Block) -> None:
        self._lines = block.data.decode().split("\n")[:-1]
        self._next = 0
        self._first = block.first
        self.blocks_read += 1

    @property
    def left(self) -> bool:
        """Whether the current block has lines that were not read."""
        return self._next < len(self._lines)

    @property
    def number(self) -> int:
        """The number of the next line."""
        return self._first + self._next

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if not self.left:
            self._load(next(self._more))
        self._next += 1
        return self._lines[self._next - 1] + "\n"
