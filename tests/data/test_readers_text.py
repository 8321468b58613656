"""Text files: exact lines in errors, no row lost, and nothing that is not clean text gets through."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from reader_files import ROWS, as_csv, as_inter, as_movielens, read_text, rows_of, write

from grela.data.events import read_events
from grela.data.readers import text
from grela.errors import DataError, EmptyDataError, ReadError

HEAD = "user,item,time,note\n"


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_of_a_csv_is_taken_from_its_header(delimiter: str, tmp_path: Path) -> None:
    assert rows_of(read_events(write(tmp_path, "log.csv", as_csv(ROWS, delimiter)))) == ROWS


def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = as_csv(ROWS)
    for content in (plain.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + plain, plain[:-1], plain + b"\n\r\n\n"):
        assert rows_of(read_text(tmp_path, content)) == ROWS


def test_quoted_fields_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    content = HEAD + '"a,1",x,1,"one\n\ntwo"\n"b""2",x,2,plain\nc,x,3,5" disc\n'
    assert [row[0] for row in rows_of(read_text(tmp_path, content))] == ["a,1", 'b"2', "c"]


def test_lines_are_counted_through_quoted_line_breaks(tmp_path: Path) -> None:
    content = HEAD + 'a,x,1,"one\n\ntwo"\nb,x,2,n\nc,x,oops,n\n'
    with pytest.raises(DataError, match="line 6: column 'time' has 'oops'"):
        read_text(tmp_path, content)


@pytest.mark.parametrize("size", [1, 5, 17, 40])
def test_quoted_fields_may_run_through_many_blocks(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", size)
    rows = "".join(f'{j},x,{j},"one\n\ntwo,{j}"\n{j},y,{j},plain\n' for j in range(20))
    read = rows_of(read_text(tmp_path, HEAD + rows + "bad,y,1,last\n"))
    assert read == [(str(j), item, j) for j in range(20) for item in "xy"] + [("bad", "y", 1)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a,x,1,n\nb,x,2\n", r"line 3: got 3 fields \('b,x,2'\), expected 4, split at ','"),
        ("a,x,1,n\nb,x,2,n,n\n", "line 3: got 5 fields"),
        ("a,x,1,n\n\nb,x,2,n\n", "line 3: got a blank line"),
        ("\na,x,1,n\n", "line 2: got a blank line"),
        ('a,x,1,"n"\n\nb,x,2,n\n', "line 3: got a blank line"),
        ('a,x,1,"n"\nb,x\n', "line 3: got 2 fields"),
        ('a,x,1,n\nb,x,2,"never closed\nc,x,3,n\n', "line 3: got (a quote that is never closed|quoting)"),
        ('a,x,1,n\nb,x,2,"closed" too early\n', "line 3: got quoting that cannot be read"),
        ("a,x,1,n\nb,x,2\r,n\n", "line 3: got a carriage return without a line feed"),
        ('a,x,1,"n"\nb,x,2\r,n\n', "line 3: got quoting that cannot be read"),
    ],
)
def test_a_broken_line_is_named(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=message):
        read_text(tmp_path, HEAD + body)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD.encode() + b"a,x,1,n\nb\xe9,x,2,n\n", "line 3: byte 0xe9 is not UTF-8; convert"),
        (
            HEAD.encode() + "é,x,1,n\n".encode() + "é,x,2,n\n".encode("latin-1"),
            "line 3: byte 0xe9 is not UTF-8",
        ),
        (HEAD.encode() + b"a,x,1,n\nb,x,2,\0\n", "line 3: a NUL byte"),
        ((HEAD + "a,x,1,n\n").encode("utf-16"), "is UTF-16, expected UTF-8"),
        ((HEAD + "a,x,1,n\n").encode("utf-16-le"), "line 1: a NUL byte"),
        (HEAD.encode() + b"a,x,1,n\n\xef\xbb\xbfb,x,2,n\n", "line 3: a byte order mark inside the file"),
        (gzip.compress(HEAD.encode(), mtime=0), "looks like gzip data; name it .gz"),
        (b"PK\x03\x04....", "looks like a zip archive"),
        (b"\n" + HEAD.encode() + b"a,x,1,n\n", "line 1: blank, expected a header"),
        (b'user,item,"time\n1,2,3\n', "line 1: the header cannot be split"),
    ],
)
def test_what_is_not_clean_text_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=message):
        read_text(tmp_path, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\r\n\n", "nothing but blank lines"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "nothing but blank lines"),
        ("a.csv", HEAD.encode(), "has a header but no rows"),
        ("a.inter", as_inter([]), "has a header but no rows"),
        ("a.jsonl", b"\n", "nothing but blank lines"),
    ],
)
def test_nothing_to_read_is_said(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(EmptyDataError, match=message):
        read_events(path)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda data: data[:-9], "truncated"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data + b"garbage", "followed by something else"),
        (lambda data: b"user,item,time\n1,2,3\n", "not gzip data"),
        (lambda data: data[:-8] + b"\0\0\0\0" + data[-4:], "damaged"),
        (lambda data: data[:20] + b"\xff\xff\xff\xff" + data[24:], "damaged"),
    ],
)
@pytest.mark.parametrize("name", ["log.csv.gz", "log.jsonl.gz", "ratings.dat.gz", "log.parquet.gz"])
def test_damaged_gzip_is_refused(
    name: str, cut: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    packed = gzip.compress(as_csv([(j, 7 * j % 13, j * j) for j in range(200)]))
    path = tmp_path / name
    path.write_bytes(cut(packed))
    with pytest.raises(ReadError, match=message):
        read_events(path)


def test_joined_gzip_members_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(as_csv(ROWS)) + gzip.compress(b"9,9,9\n"))
    assert rows_of(read_events(path)) == [*ROWS, (9, 9, 9)]


@pytest.mark.parametrize("filler", [b"1", b"\n", b'"'])
@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_an_endless_line_is_refused_in_bounded_memory(
    name: str, filler: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(text, "LINE_LIMIT", 1 << 18)
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b"user,item,time\n1,2,3" if name == "log.csv" else b"")
        file.writelines(filler * (1 << 20) for _ in range(32))
        file.write(b"x")
    tracemalloc.start()
    with pytest.raises(ReadError, match="is longer than 262144 bytes"):
        read_events(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_gigabyte_of_zeros_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    with path.open("wb") as file:
        file.write(b"user,item,time\n1,2,3\n")
        file.truncate(1 << 30)
    with pytest.raises(ReadError, match="line 3: a NUL byte"):
        read_events(path)


def test_a_long_line_within_the_limit_is_read(tmp_path: Path) -> None:
    assert rows_of(read_text(tmp_path, HEAD + "a,x,1," + "n" * (5 << 20) + "\nb,x,2,n\n")) == [
        ("a", "x", 1),
        ("b", "x", 2),
    ]


def test_movielens_fields_split_at_two_colons_only(tmp_path: Path) -> None:
    assert rows_of(read_text(tmp_path, "a:b::c::5::1\n", "ratings.dat")) == [("a:b", "c", 1)]
    with pytest.raises(ReadError, match="line 2: got 3 fields"):
        read_text(tmp_path, "1::2::5::1\n1::2:5::1\n", "ratings.dat")
    with pytest.raises(ReadError, match=r"line 1: got 1 field .*expected 4, split at '::'"):
        read_text(tmp_path, as_csv(ROWS), "ratings.dat")
    with pytest.raises(ReadError, match="line 2: got the control character 0x1f"):
        read_text(tmp_path, "1::2::5::1\n1\x1f2::5::1\n", "ratings.dat")


def test_quotes_are_letters_where_the_format_has_none(tmp_path: Path) -> None:
    assert rows_of(read_text(tmp_path, as_inter([('"a', 'b"', 1)]), "log.inter")) == [('"a', 'b"', 1)]
    assert rows_of(read_text(tmp_path, as_movielens([('"a', 'b"', 1)]), "r.dat")) == [('"a', 'b"', 1)]


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        read_events(tmp_path / "no.csv")
    with pytest.raises(ReadError, match=r"is a folder.*grela data shard"):
        read_events(tmp_path)
    with pytest.raises(ReadError, match="is not a path"):
        read_events("a\0b.csv")
    with pytest.raises(ReadError, match="cannot be read"):
        read_events("x" * 5000 + ".csv")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", as_csv(ROWS))
    path.chmod(0)
    try:
        path.open("rb").close()
    except PermissionError:
        with pytest.raises(ReadError, match="cannot be read: Permission denied"):
            read_events(path)
    else:
        pytest.skip("this account may read any file")


def test_an_unknown_ending_lists_the_formats(tmp_path: Path) -> None:
    path = write(tmp_path, "log.txt", as_csv(ROWS))
    with pytest.raises(ReadError, match=r"cannot tell its format.*csv \(\.csv\), tsv .*parquet.*format="):
        read_events(path)
    assert rows_of(read_events(path, format="csv")) == ROWS
    with pytest.raises(ReadError, match="unknown format 'excel'; formats are csv"):
        read_events(path, format="excel")
