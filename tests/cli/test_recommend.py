"""`grela recommend`: lists for people, for programs, and for everyone."""

import csv
import io
import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from fit_cases import ITEMS, USERS, fitted, log, small_config
from grela import Recommender


def shown(out: str) -> list[list[str]]:
    """The rank, score and rest of each line of a list."""
    return [line.split(maxsplit=2) for line in out.splitlines() if line.startswith("  ")]


def test_a_user_is_told_titles_where_there_are_any_and_else_ids(grela, fitted_run):
    done = grela("recommend", fitted_run, "--user", 103, "-k", ITEMS, "--keep-seen")
    assert (done.code, done.err) == (0, "")
    (expected,) = fitted().recommend([103], k=ITEMS, filter_seen=False)
    assert done.out.splitlines()[0] == "for user 103:"
    assert [row[0] for row in shown(done.out)] == [str(rank + 1) for rank in range(ITEMS)]
    names = {500: "Five hundred  [500]", 503: "Müller, Lüdenscheid  [503]"}
    assert [row[2] for row in shown(done.out)] == [
        names.get(one.item, str(one.item)) for one in expected.items
    ]


def test_json_is_what_the_facade_returns(grela, fitted_run):
    arguments = ["--user", 103, "--user", "104", "--history", "500,9,501", "--history", "", "--json", "-k", 3]
    done = grela("recommend", fitted_run, *arguments)
    expected = fitted().recommend([103, 104, [500, "9", 501], []], k=3)
    found = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert [one["user"] for one in found] == [103, 104, None, None]
    assert [one["unknown"] for one in found] == [[], [], ["9"], []]
    assert [one["cold_start"] for one in found] == [False, False, False, True]
    for one, other in zip(found, expected, strict=True):
        assert one["items"] == [
            {"item": item.item, "title": item.title, "score": item.score} for item in other.items
        ]


def test_histories_with_their_times_are_the_users(grela, fitted_run):
    """One --times for each --history, users between them."""
    arguments = ["--user", 103]
    for user in (103, 104):
        frame = log().filter(pl.col("user_id") == user)
        arguments += ["--history", ",".join(map(str, frame["item_id"]))]
        arguments += ["--times", ", ".join(map(str, frame["timestamp"]))]
    done = grela("recommend", fitted_run, *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    found = [one["items"] for one in json.loads(done.out)]
    (first, second) = fitted().recommend([103, 104])
    for one, other in zip(found, (first, first, second), strict=True):
        assert [item["item"] for item in one] == [item.item for item in other.items]
        assert [item["score"] for item in one] == pytest.approx([i.score for i in other.items], rel=1e-5)


@pytest.mark.parametrize("option", [[], ["--filter-seen"], ["--keep-seen"]])
def test_whether_seen_items_are_shown_is_the_models_choice_unless_said(grela, fitted_run, option):
    done = grela("recommend", fitted_run, "--user", 103, "--json", *option)
    asked = {"": None, "--filter-seen": True, "--keep-seen": False}["".join(option)]
    (expected,) = fitted().recommend([103], filter_seen=asked)
    assert [item["item"] for item in json.loads(done.out)[0]["items"]] == [i.item for i in expected.items]


def test_unknown_items_and_a_cold_start_are_said_beside_the_list(grela, fitted_run):
    done = grela("recommend", fitted_run, "--history", "1,2", "-k", 2)
    assert done.code == 0
    assert "skipped, not in the catalogue: 1, 2" in done.err
    assert "the most popular items" in done.err
    assert len(shown(done.out)) == 2


def test_allowed_and_excluded_items_are_obeyed(grela, fitted_run):
    history = ["recommend", fitted_run, "--history", "500"]
    done = grela(*history, "--allow", "501, 502,503", "--exclude", "502", "--json")
    assert sorted(item["item"] for item in json.loads(done.out)[0]["items"]) == [501, 503]


def test_nothing_left_to_recommend_is_said(grela, fitted_run):
    history = ["--history", "500,501", "--allow", "500,501"]
    assert len(shown(grela("recommend", fitted_run, *history).out)) == 2
    done = grela("recommend", fitted_run, *history, "--filter-seen")
    assert done.code == 0
    assert "nothing is left" in done.err


def test_everyone_goes_to_parquet(grela, fitted_run, tmp_path):
    path = tmp_path / "lists.parquet"
    done = grela("recommend", fitted_run, "--all", "--out", path, "-k", 2)
    assert (done.code, done.out) == (0, f"{2 * USERS} rows in {path}\n")
    table = pq.read_table(path)
    assert table.schema.names == ["user", "rank", "item", "score"]
    first = fitted().recommend([100], k=2)[0]
    assert table["item"].to_pylist()[:2] == [one.item for one in first.items]


@pytest.fixture(scope="module")
def run_with_commas(tmp_path_factory):
    """A run whose item ids hold commas and quotes."""
    out = tmp_path_factory.mktemp("commas") / "run"
    frame = log().with_columns(item_id=pl.format('a "{}", b', "item_id"))
    Recommender.fit(frame, config=small_config(training={"epochs": 1}), out=out)
    return out


def test_a_history_may_quote_ids_with_commas(grela, run_with_commas):
    line = io.StringIO()
    csv.writer(line).writerow(['a "500", b', "unheard of", 'a "501", b'])
    history = ["--history", line.getvalue().strip(), "--filter-seen"]
    done = grela("recommend", run_with_commas, *history, "--json")
    (found,) = json.loads(done.out)
    assert found["unknown"] == ["unheard of"]
    assert not {'a "500", b', 'a "501", b'} & {item["item"] for item in found["items"]}
    assert len(found["items"]) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--user", "1"], 1, "unknown user '1'"),
        (["--user", "nobody"], 1, "unknown user 'nobody'"),
        (["--user", "103", "-k", "0"], 1, "k is 0, expected a whole number of at least 1"),
        (["--user", "103", "-k", "ten"], 2, "'-k'"),
        (["--user", "103", "--allow", "9"], 1, "allow has the unknown item '9'"),
        (["--user", "103", "--exclude", "500,x"], 1, "exclude has the unknown item 'x'"),
        (["--history", "500,501", "--times", "5"], 1, "entry 0 of times has 1 times for 2 items"),
        (["--history", "500,501", "--times", "7,5"], 1, "entry 0 of times goes back at place 1, from 7 to 5"),
        (["--history", "500", "--times", "2024-05-01"], 1, "this log's times are plain numbers"),
        (["--history", "500", "--times", "nan"], 1, "entry 0 of times, place 0, is "),
        (["--user", "103", "--history", "500,501", "--times", "x,5"], 1, "entry 1 of times, place 0, is 'x'"),
        (["--user", "103", "--times", "5"], 2, "1 --times for 0 --history; give one for each"),
        (["--history", "500", "--history", "501", "--times", "5"], 2, "1 --times for 2 --history"),
        (["--all", "--out", "x.parquet", "--times", "5"], 2, "--all takes no --user, --history, --times"),
        (["--history", 'a,"b'], 2, "cannot read the ids"),
        (["--history", "a\nb"], 2, "cannot read the ids"),
        ([], 2, "say for whom: --user ID, --history A,B,C or --all"),
        (["--all"], 2, "--all and --out"),
        (["--out", "x.parquet", "--user", "103"], 2, "--all and --out"),
        (["--all", "--out", "x.parquet", "--user", "103"], 2, "--all takes no --user"),
        (["--all", "--out", "no/such/folder/x.parquet"], 1, "cannot write no/such/folder/x.parquet"),
        (["--all", "--out", "x.parquet", "-k", "0"], 1, "k is 0"),
        (["--user", "103", "--device", "tpu"], 2, "--device"),
    ],
)
def test_bad_requests_are_named(grela, fitted_run, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    done = grela("recommend", fitted_run, *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_named(grela, tmp_path):
    done = grela("recommend", tmp_path, "--user", "1")
    assert (done.code, done.out) == (1, "")
    assert "is not a run folder" in done.err
