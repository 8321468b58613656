"""Times: one kind in a column, finite, of this age; else an error with the row."""

from pathlib import Path

import pyarrow as pa
import pytest
from reader_files import as_jsonl, read_text, rows_of, write

from grela.data.events import read_events
from grela.errors import ValueInDataError


def log(times: list[str]) -> str:
    return "user,item,time\n" + "".join(f"1,1,{time}\n" for time in times)


def table(times: pa.Array) -> pa.Table:
    return pa.table({"user": [1] * len(times), "item": [1] * len(times), "time": times})


@pytest.mark.parametrize(
    ("times", "values", "unit"),
    [
        (["978300760", "-5"], [978300760, -5], "given"),
        ([" 1", "2 "], [1, 2], "given"),
        (["1.5", "2", "1e3"], [1.5, 2.0, 1000.0], "given"),
        (["2", "2.25"], [2.0, 2.25], "given"),
        (["1970-01-02", "1970-01-01T00:00:01"], [86_400_000_000, 1_000_000], "us"),
        (["1970-01-01 00:01", "1970-01-01 01"], [60_000_000, 3_600_000_000], "us"),
        (["1970-01-01T00:00:00Z", "1970-01-01T02:00:00+02:00", "1969-12-31 18:30-0530"], [0, 0, 0], "us"),
        (["1970-01-01T00:00:00.123456789Z"], [123_456], "us"),
        (["1969-12-31T23:59:59.5"], [-500_000], "us"),
    ],
)
def test_numbers_stay_and_iso_8601_becomes_microseconds(
    times: list[str], values: list[float], unit: str, tmp_path: Path
) -> None:
    events = read_text(tmp_path, log(times))
    read = [row[2] for row in rows_of(events)]
    assert read == values
    assert events.time_unit == unit
    assert events.schema.field("time").type == (pa.float64() if isinstance(values[0], float) else pa.int64())


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["1", ""], "line 3: column 'time' has ''"),
        (["", "1"], "line 2: column 'time' has ''"),
        (["1", "nan"], "line 3: column 'time' has the absurd time 'nan'"),
        (["1", "2", "inf"], "line 4: column 'time' has the absurd time 'inf'"),
        (["1", str(2**62)], "line 3: column 'time' has the absurd time"),
        (["1", str(10**30)], "line 3: column 'time' has the absurd time"),
        (["1", "0x10"], "line 3: column 'time' has '0x10'"),
        (["0x10", "0.5"], "line 2: column 'time' has '0x10', expected a finite number or an ISO"),
        (["1", "yesterday"], "line 3: column 'time' has 'yesterday', expected a finite number or an ISO"),
        (
            ["2020-01-01", "3"],
            "line 3: column 'time' has '3', expected a date or time without zone as at line 2",
        ),
        (["3", "2020-01-01"], "line 3: column 'time' has '2020-01-01', expected an integer as at line 2"),
        (["2020-01-01T00:00Z", "2020-01-01T00:00"], "line 3: .* expected a time with zone as at line 2"),
        (
            ["2020-01-01", "2020-02-30"],
            "line 3: column 'time' has '2020-02-30', expected a date and time of the",
        ),
        (["2020-01-01", "0001-01-01"], "line 3: column 'time' has the absurd date 0001-01-01"),
        (["2020-01-01", "2200-01-01"], "line 3: column 'time' has the absurd date 2200-01-01"),
        (["2020-01-01T25:00:00Z"], "line 2: column 'time' has '2020-01-01T25:00:00Z'"),
        (["01/02/2020"], "line 2: column 'time' has '01/02/2020'"),
    ],
)
def test_a_bad_time_in_text_is_refused_with_its_line(times: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueInDataError, match=message):
        read_text(tmp_path, log(times))


def test_a_change_of_kind_is_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grela.data.readers.text.BLOCK_BYTES", 16)
    with pytest.raises(
        ValueInDataError, match="line 9: 'time' is a date or time without zone, but an integer at line"
    ):
        read_text(tmp_path, log(["1"] * 7 + ["2020-01-01"]))
    assert rows_of(read_text(tmp_path, log(["1"] * 7 + ["0.5"])))[0][2] == 1.0


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (pa.array([1, None]), "row 2: column 'time' has a null"),
        (pa.array([1.0, float("nan")]), "row 2: column 'time' has the absurd time nan"),
        (pa.array([1.0, -float("inf")]), "row 2: column 'time' has the absurd time -inf"),
        (pa.array([0, 2**64 - 1], pa.uint64()), "row 2: column 'time' has the absurd time"),
        (pa.array([0, -(2**63)]), "row 2: column 'time' has the absurd time"),
        (pa.array([0, 10**9], pa.date32()), "row 2: column 'time' has the absurd date"),
        (pa.array([0, 2**62], pa.timestamp("s")), "row 2: column 'time' has the absurd date"),
        (pa.array([0, -(2**62)], pa.timestamp("us")), "row 2: column 'time' has the absurd date"),
        (pa.array([True]), "row 1 is bool"),
        (pa.array([1], pa.duration("s")), "row 1 is duration"),
        (pa.array([1], pa.time32("s")), "row 1 is time32"),
        (pa.array(["1", "x"]), "row 2: column 'time' has 'x'"),
    ],
)
def test_a_bad_time_in_arrow_is_refused_with_its_row(times: pa.Array, message: str) -> None:
    with pytest.raises(ValueInDataError, match=message):
        read_events(table(times))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_any_unit_are_the_same_moments(unit: str) -> None:
    stamps = pa.array([-86_400, 0, 1_700_000_000], pa.timestamp("s")).cast(pa.timestamp(unit))
    events = read_events(table(stamps))
    assert [row[2] for row in rows_of(events)] == [-86_400_000_000, 0, 1_700_000_000_000_000]


def test_nanoseconds_before_1970_are_cut_downwards_too() -> None:
    assert rows_of(read_events(table(pa.array([-1, 999], pa.timestamp("ns")))))[0][2] == -1


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.float32()])
def test_numbers_of_any_width_keep_their_value(kind: pa.DataType) -> None:
    assert [row[2] for row in rows_of(read_events(table(pa.array([1, 100], kind))))] == [1, 100]


def test_json_numbers_and_text_are_not_mixed(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", as_jsonl([(1, 1, 5), (1, 1, 2.5)]))
    assert [row[2] for row in rows_of(read_events(path))] == [5.0, 2.5]
    path = write(tmp_path, "a.jsonl", as_jsonl([(1, 1, 5), (1, 1, "2020-01-01")]))
    with pytest.raises(
        ValueInDataError, match="line 2: 'timestamp' is the string '2020-01-01', expected a number"
    ):
        read_events(path)
