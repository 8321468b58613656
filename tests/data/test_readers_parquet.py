"""Parquet: whole or refused."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reader_files import ROWS, as_csv, as_parquet, as_table, rows_of, write

from grela.data.events import read_events
from grela.data.readers import arrow
from grela.errors import ColumnError, EmptyDataError, ReadError, ValueInDataError


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(part: float, tmp_path: Path) -> None:
    content = as_parquet(ROWS)
    path = write(tmp_path, "a.parquet", content[: int(len(content) * part)])
    with pytest.raises(ReadError, match="not a Parquet file, or damaged or truncated"):
        read_events(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="not a Parquet file"):
        read_events(write(tmp_path, "a.parquet", as_csv(ROWS)))


def test_a_damaged_page_is_refused_where_the_file_has_checksums(tmp_path: Path) -> None:
    table = pa.table({"user": list(range(5000)), "item": list(range(5000)), "time": list(range(5000))})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(sink.getvalue())
    content[20_000] ^= 1
    with pytest.raises(ReadError, match="damaged"):
        read_events(write(tmp_path, "a.parquet", bytes(content)))


def test_no_rows_is_said(tmp_path: Path) -> None:
    pq.write_table(as_table(ROWS).slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(EmptyDataError, match="no rows"):
        read_events(tmp_path / "a.parquet")


def test_rows_are_counted_across_row_groups_and_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "ROWS_PER_CHUNK", 3)
    users = pa.array([*range(10), None, 11])
    table = pa.table({"user": users, "item": list(range(12)), "time": list(range(12))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=5)
    with pytest.raises(ValueInDataError, match="row 11: column 'user' has a null"):
        read_events(tmp_path / "a.parquet")
    with pytest.raises(ValueInDataError, match="data frame, row 11: column 'user' has a null"):
        read_events(table)


def test_columns_named_alike_are_refused(tmp_path: Path) -> None:
    column = pa.array([1])
    table = pa.table([column] * 4, names=["user", "user", "item", "time"])
    with pytest.raises(ColumnError, match="user could be any"):
        read_events(table)
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ColumnError, match="user could be any"):
        read_events(tmp_path / "a.parquet")


def test_names_with_dots_and_nested_columns_beside_them_do_no_harm(tmp_path: Path) -> None:
    nested = pa.array([{"id": 9}], pa.struct([("id", pa.int64())]))
    table = pa.table({"user.id": [1], "user": nested, "item": [2], "time": [3]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert rows_of(read_events(tmp_path / "a.parquet", user="user.id")) == [(1, 2, 3)]
    with pytest.raises(ValueInDataError, match="row 1: column 'user' has a struct"):
        read_events(tmp_path / "a.parquet", user="user")
