"""Histories as Parquet, a row a user: raw id, dense items, times. A few million events at a time, both ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grela.data.histories import Histories, user_blocks

IDS = (pa.int64(), pa.string())
COLUMNS = {
    "user": IDS,
    "items": (pa.large_list(pa.int32()),),
    "times": (pa.large_list(pa.int64()), pa.large_list(pa.float64())),
}


@dataclass(frozen=True, eq=False)
class UserRows:
    """Users [U] with their events: user j's are `items[offsets[j]:offsets[j + 1]]`, as in `Histories`."""

    users: pa.Array
    items: np.ndarray
    times: np.ndarray
    offsets: np.ndarray


def write_histories(path: Path, histories: Histories) -> None:
    """Write users in the order of their dense ids; row groups of a few million events."""
    times = pa.from_numpy_dtype(histories.times.dtype)
    kinds = (histories.users.ids.type, pa.large_list(pa.int32()), pa.large_list(times))
    with pq.ParquetWriter(path, pa.schema(list(zip(COLUMNS, kinds, strict=True)))) as writer:
        for first, last in user_blocks(histories.offsets):
            writer.write_table(_block(histories, first, last))


def _block(histories: Histories, first: int, last: int) -> pa.Table:
    offsets = np.asarray(histories.offsets[first : last + 1])
    events = slice(int(offsets[0]), int(offsets[-1]))
    starts = pa.array(offsets - offsets[0])
    lists = [
        pa.LargeListArray.from_arrays(starts, pa.array(np.asarray(flat[events])))
        for flat in (histories.items, histories.times)
    ]
    return pa.table(dict(zip(COLUMNS, [histories.users.ids.slice(first, last - first), *lists], strict=True)))


def read_rows(path: Path, num_items: int) -> UserRows:
    """All users of the file; ValueError where it is unreadable, or of another form, or has items beyond 1..N."""
    return _checked(read_table(path, COLUMNS), path, num_items)


def read_some_rows(path: Path, num_items: int, low: int, high: int) -> UserRows:
    """Users low..high-1 of the file, from the row groups that hold them; ValueError as `read_rows`."""
    with _opened(path) as file:
        ends = np.cumsum([file.metadata.row_group(j).num_rows for j in range(file.num_row_groups)])
        if high > (ends[-1] if len(ends) else 0):
            raise ValueError(
                f"{path.name} has {ends[-1] if len(ends) else 0} users, expected at least {high}"
            )
        groups = range(int(np.searchsorted(ends, low, "right")), int(np.searchsorted(ends, high, "left")) + 1)
        before = int(ends[groups[0] - 1]) if groups[0] else 0
        table = file.read_row_groups(list(groups)).slice(low - before, high - low)
    return _checked(table, path, num_items)


def row_groups(path: Path, num_items: int) -> Iterator[UserRows]:
    """All users of the file, a row group at a time; ValueError as `read_rows`."""
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            yield _checked(file.read_row_group(group), path, num_items)


def read_table(path: Path, expected: dict[str, tuple[pa.DataType, ...]]) -> pa.Table:
    """The table in the file; ValueError where it is unreadable or has another form than `expected`."""
    with _opened(path) as file:
        table = file.read()
    must_have(table, path, expected)
    return table


def must_have(table: pa.Table, path: Path, expected: dict[str, tuple[pa.DataType, ...]]) -> None:
    """ValueError where a column is missing, of another type, or has nulls (titles may)."""
    for name, types in expected.items():
        got = table.schema.field(name).type if name in table.schema.names else "missing"
        if got not in types:
            raise ValueError(f"column {name} of {path.name} is {got}, expected {types[0]}")
        if name != "title" and table[name].null_count:
            raise ValueError(f"column {name} of {path.name} has nulls")


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _checked(table: pa.Table, path: Path, num_items: int) -> UserRows:
    must_have(table, path, COLUMNS)
    lists, times = (table[name].combine_chunks() for name in ("items", "times"))
    starts, times_starts = (column.offsets.to_numpy() for column in (lists, times))
    if not np.array_equal(np.diff(starts), np.diff(times_starts)):
        raise ValueError(f"items and times of {path.name} differ in length")
    flat, at = lists.flatten(), times.flatten()
    dense = flat.to_numpy(zero_copy_only=False, writable=True)  # torch warns of what it could not write to
    if flat.null_count or (len(dense) and not 1 <= dense.min() <= dense.max() <= num_items):
        raise ValueError(f"{path.name} has items that are not among the {num_items} of the catalogue")
    return UserRows(
        table["user"].combine_chunks(), dense, at.to_numpy(zero_copy_only=False), starts - starts[0]
    )
