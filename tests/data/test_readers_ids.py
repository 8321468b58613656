"""Ids that could be mistaken for one another, or are none, are refused with their row."""

from pathlib import Path

import pyarrow as pa
import pytest
from reader_files import read_text, rows_of

from grela.data.events import read_events
from grela.errors import ValueInDataError


def log(users: list[str]) -> str:
    return "user,item,time\n" + "".join(f"{user},1,1\n" for user in users)


def table(users: pa.Array) -> pa.Table:
    return pa.table({"user": users, "item": [1] * len(users), "time": [1] * len(users)})


@pytest.mark.parametrize("odd", ["007", "+5", "-0", "1.0", "1e3", "0x1F", str(2**63), "x", "1_0"])
def test_one_id_that_is_no_plain_integer_makes_the_column_strings(odd: str, tmp_path: Path) -> None:
    users = [row[0] for row in rows_of(read_text(tmp_path, log(["1", "22", odd, "3"])))]
    assert users == ["1", "22", odd, "3"]


def test_the_largest_integers_stay_integers(tmp_path: Path) -> None:
    users = [str(2**63 - 1), str(-(2**63)), "0"]
    assert [row[0] for row in rows_of(read_text(tmp_path, log(users)))] == [int(user) for user in users]


@pytest.mark.parametrize(
    ("users", "first", "second"),
    [
        (["a", "b", "a "], "line 2", "line 4"),
        ([" a", "b", "b", "a\u00a0"], "line 2", "line 5"),
        (["1", "2", "3", " 2"], "line 3", "line 5"),
        (["x", "\u2003y", "y"], "line 3", "line 4"),
    ],
)
def test_ids_that_differ_only_in_white_space_name_both_lines(
    users: list[str], first: str, second: str, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueInDataError, match=f"at {first} and .* at {second}: they differ only in white space"
    ):
        read_text(tmp_path, log(users))


def test_white_space_twins_are_found_in_frames_and_across_chunks() -> None:
    users = pa.chunked_array([["a", "b"], ["c", "b "]])
    with pytest.raises(ValueInDataError, match="at row 2 and 'b ' at row 4"):
        read_events(table(users))


def test_white_space_around_an_id_without_twin_comes_back(tmp_path: Path) -> None:
    users = [" a", "b ", "c d", " a"]
    assert [row[0] for row in rows_of(read_text(tmp_path, log(users)))] == users


@pytest.mark.parametrize("bad", ["", " ", "\u00a0\u2003"])
def test_an_empty_id_is_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueInDataError, match="line 3: column 'user' has an empty id"):
        read_text(tmp_path, log(["a", bad, "b"]))


@pytest.mark.parametrize("bad", ["a\x07", "\x7f", "a\u0085b", "\x1b[31m", "a\x1f"])
def test_a_control_character_in_an_id_is_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueInDataError, match="line 4: column 'user' has a control character"):
        read_text(tmp_path, log(["a", "é¢", bad]))


def test_a_line_break_in_a_quoted_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueInDataError, match="line 3: column 'user' has a control character"):
        read_text(tmp_path, log(["a", '"b\nc"', "d"]))


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64(), pa.uint64()])
def test_integers_of_any_width_are_the_same_ids(kind: pa.DataType) -> None:
    events = read_events(table(pa.array([1, 100, 7], kind)))
    assert events.schema.field("user").type == pa.int64()
    assert [row[0] for row in rows_of(events)] == [1, 100, 7]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_strings_of_any_layout_are_the_same_ids(kind: pa.DataType) -> None:
    users = pa.array(["a", "b", "a"]).cast(kind)
    events = read_events(table(users))
    assert events.schema.field("user").type == pa.string()
    assert [row[0] for row in rows_of(events)] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (
            pa.array([1, 2**63], pa.uint64()),
            r"row 2: column 'user' has 9223372036854775808, expected .* below 2\^63",
        ),
        (pa.array([1.0, 2.0, 2.5]), r"row 3: column 'user' has a double \(2\.5\).* cast it to integers"),
        (pa.array([1.0, float("nan")]), r"row 2: column 'user' has a double \(nan\)"),
        (pa.array([True, False]), r"row 1: column 'user' has a bool"),
        (pa.array([[1], [2]]), r"row 1: column 'user' has a list"),
        (pa.array([b"a"]), r"row 1: column 'user' has a binary"),
        (pa.array([1, None]), r"row 2: column 'user' has a null"),
        (pa.array(["a", "b", None]), r"row 3: column 'user' has a null"),
        (pa.nulls(2), r"row 1: column 'user' has a null"),
        (pa.array(["a", None]).dictionary_encode(), r"row 2: column 'user' has a null"),
    ],
)
def test_what_is_no_id_is_refused_with_its_row(users: pa.Array, message: str) -> None:
    with pytest.raises(ValueInDataError, match=message):
        read_events(table(users))


def test_text_that_is_not_utf8_in_arrow_is_refused_with_its_row() -> None:
    users = pa.array([b"ok", b"\xff"]).view(pa.string())
    with pytest.raises(ValueInDataError, match="row 2: column 'user' has text that is not UTF-8"):
        read_events(table(users))
