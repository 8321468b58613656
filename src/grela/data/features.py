"""Features of items: a vector of numbers for each."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grela.data.readers.columns import find_columns
from grela.data.readers.formats import TITLE_FORMATS, open_source
from grela.data.readers.ids import decoded, read_ids
from grela.data.readers.scan import Chunk, first_failure, shown
from grela.data.titles import one_type
from grela.data.vocabulary import RawId
from grela.errors import ColumnError, EmptyDataError, ValueInDataError

# n items, F features


def read_features(
    source: Any, *, item: str | None = None, format: str | None = None
) -> dict[RawId, np.ndarray]:
    """The vector, float64 [F], of each item: every column but that of the ids is a feature.

    source: a path to CSV, TSV, Parquet or JSON lines, each also packed as .gz; or a data frame.
    item: the exact name of the ids' column; else its usual names are looked for.

    Raises a DataError that names source and row at a value that is no finite number, and for an item that comes twice.
    """
    scan = open_source(source, TITLE_FORMATS, format)
    (at,) = find_columns(scan.name, scan.how, scan.header, {"item": item})
    others = [j for j in range(len(scan.header)) if j != at]
    if not others:
        raise ColumnError(
            f"{scan.name} has no column but {scan.header[at]!r}; expected features beside the ids"
        )
    ids, blocks = [], []
    for chunk in scan.chunks([at, *others]):
        ids.append(read_ids(chunk, 0, scan.name, scan.header[at]))
        columns = [_numbers(chunk, j, scan.name, scan.header[k]) for j, k in enumerate(others, 1)]
        blocks.append(np.column_stack(columns))
    if not ids:
        raise EmptyDataError(f"{scan.name} has a header but no rows; expected items and features")
    raws = one_type(scan, ids).to_pylist()
    found = dict(zip(raws, np.concatenate(blocks), strict=True))
    if len(found) < len(raws):
        twice = next(raw for j, raw in enumerate(raws) if raw in raws[:j])
        raise ValueInDataError(f"{scan.name} has item {twice!r} twice; give each item one row of features")
    return found


def _numbers(chunk: Chunk, j: int, name: str, column: str) -> np.ndarray:
    """A column as finite float64."""
    values = decoded(chunk.columns[j])

    def convert(part: pa.Array) -> pa.Array:
        return pc.cast(part, pa.float64())

    try:
        numbers: np.ndarray = convert(values).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        raise _bad(chunk, values, first_failure(values, convert), name, column) from None
    wrong = np.flatnonzero(~np.isfinite(numbers))  # a null came as NaN
    if len(wrong):
        raise _bad(chunk, values, int(wrong[0]), name, column)
    return numbers


def _bad(chunk: Chunk, values: pa.Array, j: int, name: str, column: str) -> ValueInDataError:
    return ValueInDataError(
        f"{name}: column {column!r} is {shown(values[j].as_py())} at {chunk.place(j)}, expected a finite number; fill "
        "it in, or leave out the column or the row"
    )
