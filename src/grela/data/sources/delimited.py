"""Text files without a header whose columns are known: typed batches, and errors that name file and line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from grela.errors import EmptyDataError, ReadError, ValueInDataError

BLOCK = 4 << 20  # bytes; no line may be longer
TIME = pa.timestamp("us", "UTC")


def event_schema(user: pa.DataType, item: pa.DataType) -> pa.Schema:
    """Schema of events with whole times."""
    return pa.schema([("user", user), ("item", item), ("time", pa.int64())])


def scan(
    path: Path,
    columns: Sequence[str],
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = "\t",
    block: int = BLOCK,
) -> Iterator[pa.RecordBatch]:
    """Batches of the columns in `types` of a file with exactly `columns` on every line and no quoting.

    A name that ends in .gz is gunzipped. Every value must convert to its type: there are no nulls.
    """
    try:
        compression = "gzip" if path.suffix == ".gz" else None
        with pa.input_stream(str(path), compression=compression) as stream:
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False, column_names=list(columns), block_size=block
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=delimiter, quote_char=False, ignore_empty_lines=False
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict(types),
                    include_columns=list(types),
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            yield from reader
    except (pa.ArrowInvalid, OSError) as error:
        raise _named(error, path, columns, block) from error


def _named(
    error: Exception, path: Path, columns: Sequence[str], block: int
) -> ReadError | ValueInDataError | EmptyDataError:
    text = str(error)
    text = text if len(text) <= 300 else text[:300] + " ..."
    if "Empty CSV file" in text:
        return EmptyDataError(f"{path} is empty; download it again")
    if "straddling object" in text:
        return ReadError(f"{path} has a line longer than {block:,} bytes; it is not the file it should be")
    if found := re.search(r"In CSV column #(\d+): Row #(\d+): (.*)", text, re.DOTALL):
        column = columns[int(found[1])]
        return ValueInDataError(f"{path}, line {found[2]}, {column}: {found[3]}")
    if found := re.search(r"Row #(\d+): (.*)", text, re.DOTALL):
        return ReadError(f"{path}, line {found[1]}: {found[2]!r}; columns are {', '.join(columns)}")
    return ReadError(f"{path} cannot be read: {text}; download it again")


def numbered_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Each batch with the 1-based line of its first row."""
    line = 1
    for batch in batches:
        yield line, batch
        line += len(batch)
