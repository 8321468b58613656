"""`grela items` on a copy of the small run."""

import json
import shutil

import pytest

from grela.item_changes import ITEM_CHANGES


@pytest.fixture
def run(fitted_run, tmp_path):
    return shutil.copytree(fitted_run, tmp_path / "run")


def listed(grela, run) -> dict:
    done = grela("items", "list", run, "--json")
    assert done.code == 0
    return json.loads(done.out)


def recommended(grela, run, *more) -> list[int]:
    done = grela("recommend", run, "--history", "502,503,504", "-k", 100, "--json", *more)
    assert done.code == 0
    return [one["item"] for one in json.loads(done.out)[0]["items"]]


def test_an_item_like_others_is_added_and_then_removed(grela, run):
    assert grela("items", "list", run).out == "the catalogue is as it was trained\n"
    done = grela("items", "add", run, "900", "--like", "505,506=2.5", "--title", "Neun, hundert")
    assert (done.code, done.out) == (
        0,
        f"1 added; the catalogue of {run} has 21 items, those removed among them\n",
    )
    assert 900 in recommended(grela, run)
    assert listed(grela, run)["added"] == [{"item": 900, "like": {"505": 1.0, "506": 2.5}}]
    assert "added    900  Neun, hundert" in grela("items", "list", run).out
    assert grela("items", "remove", run, "900", "501").code == 0
    assert not {900, 501} & set(recommended(grela, run))
    assert listed(grela, run)["removed"] == [900, 501]
    assert "removed  501" in grela("items", "list", run).out


def test_items_are_added_by_features(grela, run, tmp_path):
    table = tmp_path / "features.csv"
    table.write_text(
        "item,even,size\n" + "".join(f"{i},{i % 2},{i % 5}\n" for i in (*range(500, 520), 901, 902))
    )
    assert grela("items", "add", run, "901", "902", "--features", table, "--bias", "-4").code == 0
    added = listed(grela, run)["added"]
    assert [(one["item"], one["features_of"], one["bias"]) for one in added] == [(901, 20, -4), (902, 20, -4)]
    done = grela("items", "add", run, "903", "--features", table)
    assert done.code == 1
    assert "has no row of the new item '903'" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("add", "RUN", "900"), 2, "say --like known items, or --features"),
        (("add", "RUN", "900", "--like", "505", "--features", "x.csv"), 2, "one of the two"),
        (("add", "RUN", "900", "901", "--like", "505", "--title", "x"), 2, "--title is of one item"),
        (("add", "RUN", "--like", "505"), 2, "Missing argument"),
        (("add", "RUN", "500", "--like", "505"), 1, "item '500' is in the catalogue already"),
        (("add", "RUN", "900", "--like", "7"), 1, "'7', which the run does not know"),
        (("add", "RUN", "900", "--like", "505=-1"), 1, "with weight -1.0"),
        (("add", "RUN", "900", "--like", "505", "--bias", "nan"), 1, "is nan, expected a finite number"),
        (("add", "nowhere", "900", "--like", "505"), 1, "is not a run folder"),
        (("remove", "RUN", "7"), 1, "'7', which the run does not know"),
        (("remove", "RUN"), 2, "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(grela, run, arguments, code, message):
    done = grela("items", *(run if word == "RUN" else word for word in arguments))
    assert done.code == code
    assert message in done.err
    assert not (run / ITEM_CHANGES).exists()
