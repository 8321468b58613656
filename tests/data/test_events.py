"""The same events come out of every format and every frame library, as they went in."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_files import (
    FILES,
    FRAMES,
    ROWS,
    TEXT_ROWS,
    Row,
    as_csv,
    as_jsonl,
    as_parquet,
    as_table,
    rows_of,
    write,
)

from grela.data.events import read_events
from grela.data.readers import text
from grela.errors import ColumnError, EmptyDataError, ReadError, ValueInDataError

AGAIN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", FILES)
def test_every_file_format_gives_the_same_events_in_file_order(
    name: str, packed: str, tmp_path: Path
) -> None:
    path = write(tmp_path, name + packed, FILES[name](ROWS))
    events = read_events(path)
    assert rows_of(events) == ROWS
    assert events.schema == pa.schema([("user", pa.int64()), ("item", pa.int64()), ("time", pa.int64())])
    assert events.name == str(path)
    assert events.time_unit == "given"


@pytest.mark.parametrize("name", FILES)
def test_string_ids_come_back_as_they_went_in(name: str, tmp_path: Path) -> None:
    events = read_events(write(tmp_path, name, FILES[name](TEXT_ROWS)))
    assert rows_of(events) == TEXT_ROWS
    assert events.schema.field("user").type == pa.string()


@pytest.mark.parametrize("library", FRAMES)
@pytest.mark.parametrize("rows", [ROWS, TEXT_ROWS], ids=["integers", "strings"])
def test_every_frame_library_gives_the_same_events(library: str, rows: list[Row]) -> None:
    events = read_events(FRAMES[library](as_table(rows)))
    assert rows_of(events) == rows
    assert events.name == "data frame"


@pytest.mark.parametrize("library", FRAMES)
def test_categories_and_times_with_zone_survive_every_frame_library(library: str) -> None:
    moments = [datetime(2024, 2, 29, 12, tzinfo=UTC), datetime(2024, 3, 1, 1, 30, tzinfo=UTC)]
    users = pa.array(["b", "a"]).dictionary_encode()
    stamps = pa.array(moments, pa.timestamp("ms", "UTC"))
    events = read_events(FRAMES[library](pa.table({"user": users, "item": [1, 2], "time": stamps})))
    assert events.time_unit == "us"
    assert rows_of(events) == [("b", 1, 1709208000_000000), ("a", 2, 1709256600_000000)]


def test_every_call_of_batches_is_a_new_pass(tmp_path: Path) -> None:
    events = read_events(write(tmp_path, "log.csv.gz", as_csv(ROWS)))
    assert events.table() == events.table()
    abandoned = events.batches()
    next(abandoned)
    assert rows_of(events) == ROWS


def test_a_stream_that_can_be_read_only_once_is_refused() -> None:
    with pytest.raises(ReadError, match=r"only once; pass reader\.read_all"):
        read_events(as_table(ROWS).to_reader())


def test_a_file_that_changes_between_passes_is_not_read_short(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", as_csv(ROWS))
    events = read_events(path)
    path.write_bytes(as_csv(ROWS[:2]))
    with pytest.raises(ReadError, match=r"changed while it was read.*2 rows, 4 before"):
        events.table()
    path.write_bytes(as_csv([("x", 1, 1)]))
    with pytest.raises(ReadError, match="changed while it was read"):
        events.table()


def test_blocks_of_any_size_give_the_same_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [(f'u"{j}', j % 7, 5 * j) for j in range(50)]
    for name, content in (("log.csv", as_csv(rows)), ("log.jsonl", as_jsonl(rows))):
        path = write(tmp_path, name, content)
        for size in (7, 64, 333):
            monkeypatch.setattr(text, "BLOCK_BYTES", size)
            assert rows_of(read_events(path)) == rows


int64 = st.integers(-(2**63), 2**63 - 1)
# No control characters, no surrogates; white space alone is no id, and twins are another law's subject.
word = st.text(st.characters(exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8)
numeral = st.one_of(
    word, int64.map(str), st.sampled_from(["007", "+5", "-0", "1e3", "0x1F", '"', "a,b", "::", "#"])
)
clock = st.integers(-(2**62) + 512, 2**62 - 512)


@AGAIN
@given(st.lists(st.tuples(int64, int64, clock), min_size=1, max_size=20))
def test_any_integers_survive_csv_json_and_parquet(tmp_path: Path, rows: list[Row]) -> None:
    for name, content in (
        ("a.csv", as_csv(rows)),
        ("a.jsonl", as_jsonl(rows)),
        ("a.parquet", as_parquet(rows)),
    ):
        assert rows_of(read_events(write(tmp_path, name, content))) == rows


@AGAIN
@given(st.lists(st.tuples(numeral, numeral, clock), min_size=1, max_size=20))
def test_any_strings_survive_csv_json_and_parquet(tmp_path: Path, rows: list[Row]) -> None:
    rows = [("not a number", "nor this", 0), *rows]
    for name, content in (
        ("a.csv", as_csv(rows)),
        ("a.jsonl", as_jsonl(rows)),
        ("a.parquet", as_parquet(rows)),
    ):
        assert rows_of(read_events(write(tmp_path, name, content))) == rows


@AGAIN
@given(st.lists(numeral, min_size=1, max_size=8))
def test_a_text_column_writes_out_as_it_was_read(tmp_path: Path, ids: list[str]) -> None:
    events = read_events(write(tmp_path, "a.csv", as_csv([(raw, "i", 0) for raw in ids])))
    users = events.table().column("user").to_pylist()
    assert [str(user) for user in users] == ids
    assert len({type(user) for user in users}) == 1


def test_strings_of_digits_in_typed_sources_stay_strings(tmp_path: Path) -> None:
    rows: list[Row] = [("1", "2", 3)]
    for source in (
        write(tmp_path, "a.jsonl", as_jsonl(rows)),
        write(tmp_path, "a.parquet", as_parquet(rows)),
    ):
        assert rows_of(read_events(source)) == rows
    assert rows_of(read_events(write(tmp_path, "a.csv", as_csv(rows)))) == [(1, 2, 3)]


@AGAIN
@given(
    st.lists(
        st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30)),
        min_size=1,
        max_size=10,
    ),
    st.integers(-23, 23),
)
def test_a_moment_is_the_same_in_every_way_of_writing_it(
    tmp_path: Path, moments: list[datetime], hours: int
) -> None:
    zone = timezone(timedelta(hours=hours))
    there = [m.replace(tzinfo=UTC).astimezone(zone) for m in moments]
    expected = [(m - datetime(1970, 1, 1)) // timedelta(microseconds=1) for m in moments]
    columns = [
        pa.array([m.isoformat() for m in moments]),
        pa.array([m.isoformat(" ") for m in there]),
        pa.array(moments, pa.timestamp("us")),
        pa.array(there, pa.timestamp("us", "UTC")),
        pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("ns"))
        if all(1900 < m.year < 2200 for m in moments)
        else pa.array(moments, pa.timestamp("us")),
    ]
    for column in columns:
        events = read_events(
            pa.table({"user": [1] * len(moments), "item": [1] * len(moments), "time": column})
        )
        assert events.table().column("time").to_pylist() == expected
        assert events.time_unit == "us"


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.string()])
def test_a_date_is_its_midnight_in_utc(kind: pa.DataType) -> None:
    days = pa.array([date(1969, 12, 31), date(1970, 1, 2)])
    events = read_events(pa.table({"user": [1, 2], "item": [3, 4], "date": days.cast(kind)}))
    assert events.table().column("time").to_pylist() == [-86_400_000_000, 86_400_000_000]


@pytest.mark.parametrize("source", [None, 5, ["a"], {"user": [1]}, b"log.csv"])
def test_what_is_neither_path_nor_frame_is_refused(source: object) -> None:
    with pytest.raises(ReadError, match="expected a path or a data frame"):
        read_events(source)


def test_a_frame_without_rows_or_columns_is_refused() -> None:
    with pytest.raises(EmptyDataError, match="no rows"):
        read_events(as_table(ROWS).slice(0, 0))
    with pytest.raises(ColumnError, match="columns found"):
        read_events(pa.table({}))
    with pytest.raises(ReadError, match="cannot be read through Arrow"):
        read_events(pa.chunked_array([[1, 2]]))


def test_a_frame_that_mixes_types_in_a_column_is_told_as_such() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1, "a"], "item": [1, 2], "time": [1, 2]}, dtype=object)
    with pytest.raises(ReadError, match="cannot be read through Arrow"):
        read_events(frame)


def test_a_frame_is_not_given_a_file_format() -> None:
    with pytest.raises(ReadError, match="is for files"):
        read_events(as_table(ROWS), format="csv")


def test_a_bad_value_in_a_frame_is_placed_by_its_row() -> None:
    users = pa.chunked_array([[1, 2], [3, None]], pa.int32())
    with pytest.raises(ValueInDataError, match="data frame, row 4: column 'user' has a null"):
        read_events(pa.table({"user": users, "item": [1] * 4, "time": [1] * 4}))
