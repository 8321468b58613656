"""JSON lines: an object a line; the fast way and the line-by-line definition agree."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_files import ROWS, as_jsonl, read_text, rows_of

from grela.data.readers.json_lines import _Objects
from grela.data.readers.text import Block
from grela.errors import DataError, ReadError, ValueInDataError

GOOD = '{"user_id": 1, "item_id": 2, "timestamp": 3}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user_id": 1, "item_id": 2}', "line 2: no key 'timestamp'"),
        ('{"user_id": 1, "item_id": 2, "timestamp": 3', "line 2: not JSON"),
        ("[1, 2, 3]", "line 2: a JSON array, expected an object"),
        ("5", "line 2: a JSON number"),
        ("null", "line 2: a JSON null"),
        ("x", "line 2: not JSON"),
        ("", "line 2: blank"),
        ('{"user_id": {"a": 1}, "item_id": 2, "timestamp": 3}', "line 2: 'user_id' is a JSON object"),
        ('{"user_id": [1], "item_id": 2, "timestamp": 3}', "line 2: 'user_id' is a JSON array"),
        ('{"user_id": true, "item_id": 2, "timestamp": 3}', "line 2: 'user_id' is a JSON boolean"),
        ('{"user_id": null, "item_id": 2, "timestamp": 3}', "line 2: column 'user_id' has a null"),
        (
            '{"user_id": "a", "item_id": 2, "timestamp": 3}',
            "line 2: 'user_id' is the string 'a', expected a number",
        ),
        ('{"user_id": 1.5, "item_id": 2, "timestamp": 3}', r"line 2: column 'user_id' has a double \(1\.5\)"),
        (
            '{"user_id": 1, "item_id": 2, "timestamp": NaN}',
            "line 2: column 'timestamp' has the absurd time nan",
        ),
        (
            '{"user_id": 1, "item_id": 2, "timestamp": 1e999}',
            "line 2: column 'timestamp' has the absurd time inf",
        ),
        (
            '{"user_id": 18446744073709551616, "item_id": 2, "timestamp": 3}',
            "line 2: 'user_id' is the integer",
        ),
        (
            '{"user_id": 1, "item_id": "\\ud800", "timestamp": 3}',
            "line 2: 'item_id' is half a surrogate pair",
        ),
        (
            '{"user_id": 1, "user_id": 1, "item_id": 2, "timestamp": 3}',
            "line 2: not JSON .*'user_id' is there twice",
        ),
        (GOOD.strip() + GOOD.strip(), "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ('{"user_id": ' + "1" * 5000 + ', "item_id": 2, "timestamp": 3}', "line 2: not JSON"),
    ],
)
def test_a_broken_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_text(tmp_path, GOOD + line + "\n" + GOOD, "a.jsonl")


def test_an_array_of_objects_is_told_from_lines(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="line 1: a JSON array, expected an object such as"):
        read_text(tmp_path, "[" + GOOD.strip() + "]", "a.json")
    with pytest.raises(ReadError, match="line 1: not JSON"):
        read_text(tmp_path, json.dumps(json.loads(GOOD), indent=2), "a.json")


def test_keys_may_come_in_any_order_among_others(tmp_path: Path) -> None:
    content = GOOD + '{"x": {"deep": [1]}, "timestamp": 5, "item_id": 4, "user_id": 3}\n'
    assert rows_of(read_text(tmp_path, content, "a.jsonl")) == [(1, 2, 3), (3, 4, 5)]


def test_a_type_that_changes_in_a_later_block_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grela.data.readers.text.BLOCK_BYTES", 50)
    with pytest.raises(ValueInDataError, match="line 4: 'user_id' is a string, but integers before"):
        read_text(tmp_path, GOOD * 3 + GOOD.replace("1", '"1"'), "a.jsonl")


value = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=5),
    st.floats(allow_nan=False),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.just({}),
)
column = st.one_of(
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.lists(st.text(max_size=4), min_size=3, max_size=3),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    st.lists(value, min_size=3, max_size=3),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column, column, st.booleans(), value)
def test_the_fast_way_gives_what_the_definition_gives_or_nothing(
    a: list[object], b: list[object], ascii_only: bool, other: object
) -> None:
    lines = [
        json.dumps({"a": x, "other": other, "b": y}, ensure_ascii=ascii_only)
        for x, y in zip(a, b, strict=True)
    ]
    block = Block("".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass"), 1)
    objects = _Objects(Path("x"), ("a", "other", "b"))
    fast = objects._by_arrow(block, ["a", "b"])
    if fast is not None:
        slow = objects._one_by_one(block, ["a", "b"])
        assert [(part.type, part.to_pylist()) for part in fast] == [
            (part.type, part.to_pylist()) for part in slow
        ]


def test_the_fast_way_is_taken_by_clean_files() -> None:
    fast = _Objects(Path("x"), ("user_id", "item_id", "timestamp"))._by_arrow(
        Block(as_jsonl(ROWS), 1), ["item_id"]
    )
    assert fast is not None
    assert fast[0].equals(pa.array([row[1] for row in ROWS]))
