"""`grela inspect`: what a run is, finished or not."""

import json
import shutil

from fit_cases import Ear, fitted, log, small_config
from grela import Recommender
from grela.configuration import config_from


def test_a_finished_run_tells_its_origin_settings_and_best_epoch(grela, fitted_run):
    done = grela("inspect", fitted_run)
    assert (done.code, done.err) == (0, "")
    assert "finished, 2 epochs" in done.out
    assert "best epoch" in done.out
    assert "[training]\nepochs = 2\n" in done.out
    assert f"{fitted().split.fingerprint[:12]}" in done.out


def test_json_holds_a_configuration_that_can_be_fed_back(grela, fitted_run, inputs, tmp_path):
    facts = json.loads(grela("inspect", fitted_run, "--json").out)
    assert config_from(facts["config"]) == small_config()
    assert facts["finished"] is True
    assert [epoch["epoch"] for epoch in facts["epochs"]] == [1, 2]
    (tmp_path / "again.json").write_text(json.dumps(facts["config"]))
    done = grela("fit", inputs / "log.csv", "--out", fitted_run, "--config", tmp_path / "again.json")
    assert done.code == 0
    assert "already finished" in done.err


def test_a_run_that_broke_before_its_first_checkpoint_is_unfinished(grela, tmp_path):
    class Break(Exception):
        pass

    class Breaking(Ear):
        def step(self, report) -> None:
            raise Break

    try:
        Recommender.fit(log(), config=small_config(), out=tmp_path / "run", listener=Breaking())
    except Break:
        done = grela("inspect", tmp_path / "run")
    assert done.code == 0
    assert "unfinished, 0 epochs" in done.out


def test_damaged_and_foreign_folders_are_named(grela, fitted_run, tmp_path):
    assert "is not a run folder" in grela("inspect", tmp_path).err
    run = shutil.copytree(fitted_run, tmp_path / "run")
    for name, text in (("metrics.jsonl", "[1]\n"), ("run.json", "[]"), ("run.json", "{")):
        (run / name).write_text(text)
        done = grela("inspect", run)
        assert (done.code, done.out) == (1, "")
        assert str(run / name) in done.err
