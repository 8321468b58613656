"""Columns are found by their usual names, and never guessed."""

from pathlib import Path

import pytest
from reader_files import read_text, rows_of

from grela.errors import ColumnError


@pytest.mark.parametrize(
    "header",
    [
        "user_id,item_id,timestamp",
        "userId,movieId,timestamp",
        "User,Item,Time",
        "uid,asin,unixReviewTime",
        "UID,product_id,ts",
        "user,movie_id,event_time",
        " user id , Product ID ,DateTime",
        '"user_id","item_id","date"',
        "user-id,item.id,created_at",
    ],
)
def test_usual_names_are_found_whatever_their_case(header: str, tmp_path: Path) -> None:
    assert rows_of(read_text(tmp_path, header + "\n1,2,3\n")) == [(1, 2, 3)]


def test_columns_are_found_in_any_order_among_others(tmp_path: Path) -> None:
    content = "rating,ts,note,item,user\n5,30,x,20,10\n"
    assert rows_of(read_text(tmp_path, content)) == [(10, 20, 30)]


def test_given_names_win_over_usual_ones(tmp_path: Path) -> None:
    content = "user_id,who,item_id,what,timestamp,when\n1,2,3,4,5,6\n"
    assert rows_of(read_text(tmp_path, content, user="who", item="what", time="when")) == [(2, 4, 6)]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "a,b,c",
            r"no column for user; columns found \(CSV, split at ','\): 'a', 'b', 'c'; name it with user=NAME",
        ),
        ("user,item,x", "no column for time"),
        (
            "user,asin,parent_asin,time",
            "item could be any of the columns 'asin', 'parent_asin'; say which with item=NAME",
        ),
        ("user_id,userId,item,time", "user could be any"),
        ("1,1193,978300760", "must be a header"),
    ],
)
def test_missing_and_ambiguous_columns_are_named(header: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match=message):
        read_text(tmp_path, header + "\n" + ",".join("1" * len(header.split(","))) + "\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": "nobody"}, "there is no column 'nobody' for user"),
        ({"user": "item"}, "column 'item' would be both user and item"),
        ({"item": "twice"}, "2 columns are named 'twice'"),
    ],
)
def test_given_names_must_fit(given: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match=message):
        read_text(tmp_path, "user,item,time,twice,twice\n1,2,3,4,5\n", **given)
