"""A run folder is whole, or it is refused with its name and what to do."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from fit_cases import Ear, fitted, log, saved_weights, small_config
from grela import Recommender, run_folder
from grela.configuration import config_from
from grela.errors import ModelError, RunError

NEEDED = [
    "run.json",
    "model.json",
    "model.safetensors",
    "items.parquet",
    "histories.parquet",
    "metrics.jsonl",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a finished fit; tests only read it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    Recommender.fit(log(), config=small_config(), titles={500: "Five hundred"}, out=folder)
    return folder


@pytest.fixture
def run(whole, tmp_path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def refused(run: Path) -> str:
    """The message of the error that loading must end in."""
    with pytest.raises((RunError, ModelError)) as caught:
        Recommender.load(run)
    return str(caught.value)


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}


def test_a_fit_leaves_what_the_module_describes_and_nothing_pickled(whole):
    names = {path.name for path in whole.iterdir()}
    assert names == {
        *NEEDED,
        "evaluation.json",
        "environment.json",
        "report.html",
        "MODEL_CARD.md",
    }
    assert all(name in str(run_folder.__doc__) for name in names)
    for path in whole.iterdir():
        # Pickle's protocol mark, and the zip that torch.save makes.
        assert not path.read_bytes().startswith((b"\x80", b"PK")), path.name


def test_a_fit_in_a_folder_and_one_in_memory_are_the_same(whole):
    loaded = Recommender.load(whole)
    assert loaded.recommend([103], k=5)[0].items == [
        type(one)(one.item, loaded.titles.get(one.item), one.score)
        for one in fitted().recommend([103], k=5)[0].items
    ]


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("damage", ["removed", "emptied", "cut", "noise", "a folder"])
def test_a_damaged_file_is_named(run, name, damage):
    path = run / name
    whole = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "removed":
        # A third: two epochs of metrics may be halved at the end of a line, which is no damage that can be seen.
        part = whole[: len(whole) // 3]
        path.write_bytes({"emptied": b"", "cut": part, "noise": b"\xff\x00noise" * 99}[damage])
    message = refused(run)
    assert name in message
    assert any(advice in message for advice in ("restore it", "fit again", "grela fit"))


JSON_OF_WRONG_TYPES = ["null", "3", '"text"', "[]", "[1]", "{}", "[" * 100_000, "NaN"]


@pytest.mark.parametrize("name", ["run.json", "model.json"])
@pytest.mark.parametrize("text", JSON_OF_WRONG_TYPES, ids=range(len(JSON_OF_WRONG_TYPES)))
def test_json_of_another_form_is_refused(run, name, text):
    (run / name).write_text(text)
    assert name in refused(run)


@pytest.mark.parametrize("line", ["3", "[]", "null", "{}", '{"epoch": 1}', '"text"'])
def test_metrics_of_another_form_are_refused(run, line):
    with open(run / "metrics.jsonl", "a") as file:
        file.write(line + "\n")
    assert "metrics.jsonl: line 3" in refused(run)


def changed(values: dict, where: str, value: object) -> dict:
    head, _, rest = where.partition(".")
    return values | {head: changed(values[head], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("format", 1),
        ("format", None),
        ("fingerprint", 7),
        ("fingerprint", "0" * 64),
        ("time_unit", []),
        ("source", None),
        ("command", {}),
        ("prepared", "text"),
        ("prepared", [1]),
        ("split_report", None),
        ("finished", "yes"),
        ("finished", 1),
        ("finished", False),
        ("unheard_of", 1),
        ("config", None),
        ("config", []),
        ("config.model", 3),
        ("config.model.width", "8"),
        ("config.model.width", 16),
        ("config.model.width", 3),
        ("config.model.gate", False),
        ("config.model.unheard_of", 1),
        ("config.split.kind", "temporal"),
        ("config.training.window", True),
    ],
)
def test_edited_facts_are_refused(run, where, value):
    path = run / "run.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), where, value)))
    message = refused(run)
    assert str(run) in message
    assert any(advice in message for advice in ("restore", "fit again", "grela fit", "fit into a new folder"))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("model", "Other"),
        ("model", None),
        ("model", ["RecGRELA"]),
        ("config", None),
        ("config.width", "8"),
        ("config.width", 8.0),
        ("config.width", 16),
        ("config.width", None),
        ("config.layers", 2),
        ("config.layers", True),
        ("config.taps", 3),
        ("config.num_items", 21),
        ("config.num_items", 10**15),
        ("config.num_items", -1),
        ("config.rotation", False),
        ("config.form", "bidirectional"),
        ("config.unheard_of", 1),
    ],
)
def test_an_edited_model_is_refused(run, where, value):
    path = run / "model.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), where, value)))
    assert "model.json" in refused(run)


def test_weights_of_another_shape_or_name_are_refused(run):
    whole = {name: tensor.numpy() for name, tensor in saved_weights(run).items()}
    some = next(iter(whole))
    for weights in (
        {name: value for name, value in whole.items() if name != some},
        whole | {"extra": np.zeros(3, np.float32)},
        whole | {some: np.zeros((3, 5), np.float32)},
        {},
    ):
        save_file(weights, run / "model.safetensors")
        assert "model.safetensors is not the file" in refused(run)
        description = json.loads((run / "model.json").read_text())
        description["sha256"] = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
        (run / "model.json").write_text(json.dumps(description))
        assert "model.safetensors does not fit" in refused(run)


def edit(table: pa.Table, name: str, values) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, values)


def test_edited_histories_are_refused(run):
    path = run / "histories.parquet"
    whole = pq.read_table(path)
    lists = whole["items"].to_pylist()
    large = pa.large_list(pa.int32())

    def with_items(*first: int | None) -> pa.Table:
        return edit(whole, "items", pa.array([[*first, *lists[0][len(first) :]], *lists[1:]], large))

    cases = {
        "were changed": [
            with_items(lists[0][1], lists[0][0]),
            whole.slice(1),
            edit(whole, "user", pc.add(whole["user"], 1)),
        ],
        "not among the 20": [with_items(0), with_items(-1), with_items(21), with_items(None)],
        "histories.parquet is missing": [whole.drop(["items"]), whole.drop(["user"])],
        "differ in length": [edit(whole, "items", pa.array([lists[0][1:], *lists[1:]], large))],
        "items of histories.parquet is": [
            edit(whole, "items", pa.array(lists)),
            edit(whole, "items", pc.list_value_length(whole["items"])),
            edit(whole, "items", pa.array([[str(i) for i in one] for one in lists])),
        ],
        "user of histories.parquet is": [edit(whole, "user", whole["user"].cast(pa.float64()))],
        "has nulls": [
            edit(whole, "user", pa.array([None, *whole["user"].to_pylist()[1:]])),
            edit(whole, "items", pa.array([None, *lists[1:]], large)),
        ],
        "no user can be tested": [whole.slice(0, 0)],
    }
    for expected, tables in cases.items():
        for table in tables:
            pq.write_table(table, path)
            message = refused(run)
            assert expected in message
            assert str(run) in message
            assert "fit again" in message


def test_an_edited_catalogue_is_refused(run):
    path = run / "items.parquet"
    whole = pq.read_table(path)
    ids = whole["item"].to_pylist()
    cases = {
        "were changed": [edit(whole, "item", pa.array([ids[1], ids[0], *ids[2:]]))],
        "not among the 19": [whole.slice(0, 19)],
        "is missing": [whole.drop(["item"]), whole.drop(["title"])],
        "item of items.parquet is": [edit(whole, "item", pa.array([[i] for i in ids]))],
        "title of items.parquet is int64": [edit(whole, "title", pa.array(ids))],
        "has nulls": [edit(whole, "item", pa.array([None, *ids[1:]]))],
    }
    for expected, tables in cases.items():
        for table in tables:
            pq.write_table(table, path)
            assert expected in refused(run)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "file").write_text("hello")
    for folder in (tmp_path, tmp_path / "file", tmp_path / "missing"):
        message = refused(folder)
        assert f"{folder} is not a run folder" in message
        assert "grela fit" in message


def test_an_unfinished_run_is_refused_and_says_how_to_finish(tmp_path):
    class Break(Exception):
        pass

    class Breaking(Ear):
        def epoch(self, report) -> None:
            raise Break

    with pytest.raises(Break):
        Recommender.fit(log(), config=small_config(), out=tmp_path / "run", listener=Breaking())
    message = refused(tmp_path / "run")
    assert "is unfinished; repeat its `grela fit` command" in message
    Recommender.fit(log(), config=small_config(), out=tmp_path / "run")
    assert Recommender.load(tmp_path / "run").recommend([103])


def test_a_finished_run_is_told_so_and_nothing_changes(run):
    before, ear = content(run), Ear()
    again = Recommender.fit(log(), config=small_config(), out=run, listener=ear)
    assert ear.notices == [f"the run in {run} is already finished"]
    assert content(run) == before
    assert again.recommend([103]) == Recommender.load(run).recommend([103])


@pytest.mark.parametrize(
    ("tables", "frame", "differs"),
    [
        ({"training": {"seed": 5}}, log(), ["training.seed was 0, not 5"]),
        ({"training": {"epochs": 9}}, log(), ["training.epochs was 2, not 9"]),
        ({"model": {"width": 16, "gate": False}}, log(), ["model.width was 8", "model.gate was True"]),
        ({"preparation": {"repeats": "first"}}, log(), ["preparation.repeats was keep, not first"]),
        ({}, log(seed=1), ["its data or split has fingerprint"]),
        ({}, log(users=31), ["its data or split has fingerprint"]),
    ],
)
def test_a_folder_of_another_run_is_refused_and_the_settings_named(run, tables, frame, differs):
    before = content(run)
    with pytest.raises(RunError, match="holds a run with other settings") as caught:
        Recommender.fit(frame, config=small_config(**tables), out=run)
    assert all(text in str(caught.value) for text in differs)
    assert "new folder" in str(caught.value)
    assert content(run) == before


def test_a_folder_with_strangers_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    before = content(tmp_path)
    with pytest.raises(RunError, match=r"not empty \(thesis.tex\) and holds no run: give a new folder"):
        Recommender.fit(log(), config=small_config(), out=tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_run_folder_that_cannot_be_made_is_refused(tmp_path, out):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot make the run folder .* give another"):
        Recommender.fit(log(), config=small_config(), out=tmp_path / out)
    with pytest.raises(RunError, match="cannot write the run"):
        fitted().save(tmp_path / out)


def test_a_disk_that_is_full_at_the_end_says_what_to_do(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("grela.models.io.write_tensors", full)
        with pytest.raises(RunError, match=r"cannot write .*No space left .*make room and repeat"):
            Recommender.fit(log(), config=small_config(), out=tmp_path / "run")
    assert "unfinished" in refused(tmp_path / "run")
    ear = Ear()
    Recommender.fit(log(), config=small_config(), out=tmp_path / "run", listener=ear)
    assert ear.epochs == 0  # the checkpoint held all of the training
    assert Recommender.load(tmp_path / "run").recommend([103]) == fitted().recommend([103])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
@pytest.mark.parametrize(
    "name", ["model.json", "model.safetensors", "items.parquet", "histories.parquet", "run.json.part"]
)
def test_a_file_that_a_full_disk_refuses_is_no_traceback(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"cannot write .*No space left on device.*; make room"):
        fitted().save(tmp_path)


def test_the_configuration_of_a_run_can_be_fed_back(whole):
    config = json.loads((whole / "run.json").read_text())["config"]
    assert config_from(config) == small_config()


def test_the_catalogue_and_the_histories_are_readable_without_this_library(whole):
    items = pl.read_parquet(whole / "items.parquet")
    histories = pl.read_parquet(whole / "histories.parquet").explode("items", "times")
    raw = items["item"].gather(histories["items"] - 1)
    assert items.filter(item=500)["title"].to_list() == ["Five hundred"]
    assert histories.select("user", item=raw, time="times").equals(
        log().select(user="user_id", item="item_id", time="timestamp")
    )
