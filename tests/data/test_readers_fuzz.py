"""Damaged files of every format: valid events or a DataError, nothing else, and no row lost on the quiet."""

import csv
import gzip
import io
import random
from pathlib import Path

import pytest
from reader_files import FILES, Row, rows_of

from grela.data.events import read_events
from grela.data.titles import read_titles
from grela.errors import DataError

CASES = 130


def valid(rng: random.Random, name: str) -> tuple[bytes, int]:
    words = ["a", "é", "x-1", "12", "007", "日本", "b c"]
    times: list[object] = rng.choice(
        [[1, 2, 30], [1.5, 2.25, 3.75], ["2020-01-01", "1999-12-31T10:00:00", "2001-05-05"]]
    )
    rows: list[Row] = []
    for _ in range(rng.randint(1, 12)):
        pair = (
            (rng.choice(words), rng.choice(words))
            if name != "u.data"
            else (rng.randint(1, 9), rng.randint(1, 9))
        )
        rows.append((*pair, rng.choice(times)))
    return FILES[name](rows), len(rows)


def mutated(rng: random.Random, data: bytes) -> bytes:
    pieces = [
        b"",
        b"\0",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b'"',
        b",",
        b"\t",
        b"::",
        b"\xff",
        b"\xef\xbb\xbf",
        b"nan",
        b"{",
        b"}",
    ]
    pieces += [
        b"null",
        b"-",
        b"9" * 30,
        b" ",
        b"\xc2\xa0",
        b"\xc2\x85",
        b"\x1f",
        b"\xe2\x80\xa8",
        b"inf",
        b"[",
        b"\\ud800",
    ]
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at, to = sorted(rng.randint(0, len(data)) for _ in "ab")
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:at] + rng.choice(pieces) + data[at:]
        elif kind == 1:
            data = data[:at] + rng.randbytes(rng.randint(1, 6)) + data[at + rng.randint(0, 6) :]
        elif kind == 2:
            data = data[:at]
        elif kind == 3:
            data = data[:at] + data[at:to] + data[at:]
        elif kind == 4:
            data = data[:at] + data[min(to, at + 5) :]
        elif data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    return data


def read_or_refuse(path: Path) -> list[Row] | DataError:
    try:
        return rows_of(read_events(path))
    except DataError as error:
        return error


def at_least(name: str, data: bytes) -> int:
    """A lower bound of the rows that a text file holds, found by other means than the reader's."""
    text = data.decode("utf-8-sig").replace("\r\n", "\n").rstrip("\n")
    lines = [line for line in text.split("\n") if line]
    quoted = name in ("log.csv", "log.tsv") and '"' in text
    header = 0 if name in ("log.jsonl", "ratings.dat", "u.data") else 1
    if quoted:
        return sum(1 for _ in csv.reader(io.StringIO(text, newline=""))) - header
    return len(lines) - header


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FILES)
def test_damage_gives_valid_events_or_a_data_error(name: str, packed: bool, tmp_path: Path) -> None:
    rng = random.Random(f"{name} {packed}")
    path = tmp_path / (name + ".gz" * packed)
    accepted = refused = 0
    for case in range(CASES):
        content, count = valid(rng, name)
        plain = content if case % 2 and packed else mutated(rng, content)
        stored = gzip.compress(plain) if packed else plain
        path.write_bytes(mutated(rng, stored) if packed and case % 2 else stored)
        outcome = read_or_refuse(path)
        if isinstance(outcome, DataError):
            refused += 1
            assert str(path) in str(outcome)
        else:
            accepted += 1
            assert all(value is not None for row in outcome for value in row)
            if name == "log.parquet":
                assert len(outcome) == count
            else:
                now = gzip.decompress(path.read_bytes()) if packed else plain
                assert len(outcome) >= at_least(name, now)
    assert refused > CASES // 10
    assert accepted + refused == CASES


@pytest.mark.parametrize("name", [*FILES, "log.csv.gz", "log.parquet.gz"])
def test_random_bytes_are_refused(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    path = tmp_path / name
    for _ in range(20):
        path.write_bytes(rng.randbytes(rng.randint(1, 200)))
        with pytest.raises(DataError):
            read_events(path)


@pytest.mark.parametrize("name", ["a.csv", "a.item", "movies.dat", "a.jsonl", "u.item"])
def test_damaged_titles_are_titles_or_a_data_error(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    sound = {
        "a.csv": 'item,title\n1,"a, b"\n2,é\n3,c\n'.encode(),
        "a.item": "item_id:token\ttitle:token_seq\n1\ta b\n2\té\n".encode(),
        "movies.dat": b"1::a::x\n2::\xe9::y\n",
        "a.jsonl": b'{"item": 1, "title": "a"}\n{"item": 2, "title": "b"}\n',
        "u.item": b"|".join([b"1", b"\xe9", *(b"0" for _ in range(22))]) + b"\n",
    }[name]
    path = tmp_path / name
    refused = 0
    for _ in range(CASES):
        path.write_bytes(mutated(rng, sound))
        try:
            titles = read_titles(path)
        except DataError:
            refused += 1
        else:
            assert all(isinstance(title, str) and title for title in titles.values())
    assert 0 < refused < CASES
