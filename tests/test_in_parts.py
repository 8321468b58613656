"""A fit on a log in parts is the fit on the log, and lists in parts are the lists."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from fit_cases import Ear, files_of, log, small_config
from grela import NewItem, Preparation, Recommender
from grela.data.parts.shard import EventFiles, shard
from grela.errors import ConfigError, DataError, RequestError, RunError
from grela.lists_in_parts import recommend_in_parts

LEAST = Preparation(min_user_events=3, min_item_events=2)
# What says when and how long, or by which command.
DIFFERS = {"environment.json", "metrics.jsonl", "report.html", "run.json", "MODEL_CARD.md"}


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> Path:
    """log.csv and parts/, the same log in three parts."""
    folder = tmp_path_factory.mktemp("sharded")
    log().sample(fraction=1, shuffle=True, seed=1).write_csv(folder / "log.csv")
    shard(EventFiles.of(folder / "log.csv"), folder / "parts", parts=3, settings=LEAST)
    return folder


@pytest.mark.parametrize("histories", ["windows", "carried"])
def test_a_fit_on_parts_leaves_the_run_of_a_fit_on_the_log(sharded, tmp_path, histories):
    config = small_config(training={"histories": histories})
    whole = Recommender.fit(
        sharded / "log.csv", config=replace(config, preparation=LEAST), out=tmp_path / "whole"
    )
    parts = Recommender.fit(sharded / "parts", config=config, out=tmp_path / "parts")
    assert parts.split.fingerprint == whole.split.fingerprint
    assert replace(parts.facts, source="", prepared=[]) == replace(whole.facts, source="", prepared=[])
    assert parts.facts.prepared == whole.facts.prepared
    one, other = files_of(tmp_path / "parts"), files_of(tmp_path / "whole")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name] and name not in DIFFERS] == []
    assert parts.recommend([103]) == whole.recommend([103])


def test_a_finished_run_on_parts_is_found_again(sharded, tmp_path):
    for expected in (2, 0):
        ear = Ear()
        Recommender.fit(sharded / "parts", config=small_config(), out=tmp_path / "run", listener=ear)
        assert ear.epochs == expected


def test_other_settings_than_the_log_was_prepared_with_are_refused(sharded):
    config = replace(small_config(), preparation=replace(LEAST, min_user_events=4))
    with pytest.raises(ConfigError, match=r"was prepared with .*min_user_events=3.*shard the log again"):
        Recommender.fit(sharded / "parts", config=config)
    same = replace(small_config(), preparation=replace(LEAST, memory_limit="300MB"))
    assert Recommender.fit(sharded / "parts", config=same).facts.config.preparation == same.preparation


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of more users than go through the model at once; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    Recommender.fit(log(users=2_500, length=5), config=small_config(), out=folder)
    return folder


def rows_of(folder: Path) -> pl.DataFrame:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    tables = [pl.read_parquet(folder / one["file"]) for one in files]
    assert [len(table) for table in tables] == [one["rows"] for one in files]
    return pl.concat(tables)


@pytest.mark.parametrize(("parts", "files"), [(1, 1), (2, 2), (9, 3)])
@pytest.mark.parametrize("filter_seen", [None, True])
def test_lists_in_parts_are_the_lists_of_the_recommender(run, tmp_path, parts, files, filter_seen):
    asked = {"k": 4, "filter_seen": filter_seen}
    Recommender.load(run).recommend_to_parquet(tmp_path / "lists.parquet", **asked)
    done = recommend_in_parts(run, tmp_path / "lists", parts=parts, **asked)
    assert len(done) == files
    assert sum(one.users for one in done) == 2_500
    assert rows_of(tmp_path / "lists").equals(pl.read_parquet(tmp_path / "lists.parquet"))


def test_lists_in_parts_know_added_and_removed_items(run, tmp_path):
    changed = shutil.copytree(run, tmp_path / "run")
    more = Recommender.load(changed).with_items([NewItem(item=900, like=[503], bias=0.0)])
    more.without_items([504]).save_items(changed)
    Recommender.load(changed).recommend_to_parquet(tmp_path / "lists.parquet", k=5)
    recommend_in_parts(changed, tmp_path / "lists", parts=3, k=5)
    found = rows_of(tmp_path / "lists")
    assert found.equals(pl.read_parquet(tmp_path / "lists.parquet"))
    assert 900 in found["item"]
    assert 504 not in found["item"]


def test_lists_that_cannot_be_made_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="expected a whole number from 1"):
        recommend_in_parts(run, tmp_path / "lists", parts=0)
    with pytest.raises(RequestError, match="k is 0"):
        recommend_in_parts(run, tmp_path / "lists", parts=2, k=0)
    with pytest.raises(RunError, match="is not a run folder"):
        recommend_in_parts(tmp_path, tmp_path / "lists", parts=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(DataError, match="is not empty"):
        recommend_in_parts(run, tmp_path / "full", parts=2)
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "histories.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="cannot read the data of the run"):
        recommend_in_parts(broken, tmp_path / "lists", parts=2)
