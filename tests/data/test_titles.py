"""Titles from every format, latin-1 only where the format is known for it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reader_files import write

from grela.data.titles import read_titles
from grela.errors import ColumnError, EmptyDataError, ReadError, ValueInDataError

TITLES = {1: "Tin, Drum (1979)", 22: 'The "Best" of Amélie', 3: "M"}
CSV = 'movieId,title,genres\n1,"Tin, Drum (1979)",War\n22,"The ""Best"" of Amélie",\n3, M ,Crime|Noir\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("movies.csv", CSV.encode()),
        ("movies.csv.gz", CSV.encode()),
        ("movies.dat", '1::Tin, Drum (1979)::War\n22::The "Best" of Amélie::x\n3::M::Noir\n'.encode()),
        (
            "movies.dat",
            '1::Tin, Drum (1979)::War\n22::The "Best" of Amélie::x\n3::M::Noir\n'.encode("latin-1"),
        ),
        ("a.tsv", 'item_id\tname\n1\tTin, Drum (1979)\n22\t"The ""Best"" of Amélie"\n3\tM\n'.encode()),
        (
            "ml.item",
            "item_id:token\tmovie_title:token_seq\tyear:token\n"
            '1\tTin, Drum (1979)\t1979\n22\tThe "Best" of Amélie\t2001\n3\tM\t\n'.encode(),
        ),
        (
            "u.item",
            b"".join(
                "|".join([str(j), title, "01-Jan-1995", "", "http://x", *("0" * 19)]).encode("latin-1")
                + b"\n"
                for j, title in TITLES.items()
            ),
        ),
        (
            "a.jsonl",
            b'{"asin": 1, "title": "Tin, Drum (1979)"}\n{"asin": 22, "title": "The \\"Best\\" of Am\\u00e9lie"}\n'
            b'{"asin": 3, "title": "M"}\n',
        ),
    ],
)
def test_every_format_gives_the_same_titles(name: str, content: bytes, tmp_path: Path) -> None:
    assert read_titles(write(tmp_path, name, content)) == TITLES


def test_parquet_and_frames_give_the_same_titles(tmp_path: Path) -> None:
    table = pa.table({"item_id": list(TITLES), "title": list(TITLES.values())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_titles(table) == read_titles(tmp_path / "a.parquet") == TITLES
    assert read_titles(table.rename_columns(["i", "t"]), item="i", title="t") == TITLES


def test_latin_1_is_no_guess_for_other_formats(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="line 3: byte 0xe9 is not UTF-8"):
        read_titles(write(tmp_path, "movies.csv", CSV.encode("latin-1")))


def test_an_item_without_title_is_left_out(tmp_path: Path) -> None:
    assert read_titles(write(tmp_path, "a.csv", b"item,title\n1,\n2,x\n3,  \n")) == {2: "x"}
    assert read_titles(pa.table({"item": [1, 2], "title": [None, "x"]})) == {2: "x"}
    assert read_titles(write(tmp_path, "a.jsonl", b'{"item":1,"title":null}\n{"item":2,"title":"x"}\n')) == {
        2: "x"
    }


def test_an_item_has_one_title(tmp_path: Path) -> None:
    assert read_titles(write(tmp_path, "a.csv", b"item,title\n1,x\n1,x\n")) == {1: "x"}
    with pytest.raises(
        ValueInDataError, match="line 4: item 1 is 'y', but 'x' at line 2; give each item one title"
    ):
        read_titles(write(tmp_path, "a.csv", b"item,title\n1,x\n2,z\n1,y\n"))


def test_ids_are_integers_only_if_all_of_them_are(tmp_path: Path) -> None:
    assert read_titles(write(tmp_path, "a.csv", b"item,title\n1,x\n02,y\n")) == {"1": "x", "02": "y"}


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"item,title\n", EmptyDataError, "has a header but no rows"),
        (b"item,text\n1,x\n", ColumnError, "no column for title"),
        (b"item,title,name\n1,x,y\n", ColumnError, "title could be any"),
        (b"item,title\n,x\n", ValueInDataError, "line 2: column 'item' has an empty id"),
        (b"item,title\n1,x,y\n", ReadError, "line 2: got 3 fields"),
    ],
)
def test_bad_files_are_named(content: bytes, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        read_titles(write(tmp_path, "a.csv", content))


def test_titles_are_text() -> None:
    with pytest.raises(ValueInDataError, match="column 'title' at row 1 is int64"):
        read_titles(pa.table({"item": [1], "title": [1]}))
