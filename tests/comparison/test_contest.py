"""Models are measured alike, in processes of their own; what is done stays done, and what fails is named."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from comparison_cases import Memory, compared, small_log

from grela.comparison import contest
from grela.comparison.budget import Budget
from grela.comparison.contest import Run, planned
from grela.comparison.contestants import CONTESTANTS
from grela.comparison.folder import RESULT, read_result, read_settings, read_split
from grela.data.splitting import train_item_counts
from grela.errors import ConfigError, RunError
from grela.evaluation.evaluate import evaluate
from grela.evaluation.popularity import Popularity
from grela.evaluation.significance import all_pairs

MODELS = ["sasrec", "popularity", "recgrela"]


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, dict, Memory]:
    out, memory = tmp_path_factory.mktemp("compared") / "out", Memory()
    return out, compared(out, MODELS, seeds=(0, 1), watcher=memory), memory


def test_every_model_is_measured_with_every_seed_and_a_floor_once(done):
    _, found, memory = done
    runs = ["sasrec, seed 0", "popularity, seed 0", "recgrela, seed 0", "sasrec, seed 1", "recgrela, seed 1"]
    assert memory.heard == [(word, run) for run in runs for word in ("begins", "ends")]
    assert {event["event"] for event in memory.events} >= {"step", "epoch"}
    assert {model["model"]: model["seeds"] for model in found["models"]} == {
        "sasrec": [0, 1],
        "recgrela": [0, 1],
        "popularity": [0],
    }
    assert found["failed"] == {}


def test_figures_are_those_of_the_evaluation_on_the_shared_split(done):
    out, found, _ = done
    split = read_split(out, read_settings(out))
    counts = train_item_counts(split)
    expected = evaluate(Popularity(counts), split.cases("test"), train_counts=counts)
    (row,) = [model for model in found["models"] if model["model"] == "popularity"]
    for view in ("filtered", "unfiltered"):
        for metric in ("ndcg@10", "hr@10"):
            assert row[view][metric]["mean"] == pytest.approx(getattr(expected, view)[metric])
            assert row[view][metric]["interval"] == pytest.approx(expected.intervals[view][metric], abs=1e-9)
    assert found["fingerprint"] == split.fingerprint


def test_models_are_ranked_and_paired_by_means_over_seeds(done):
    _, found, _ = done
    scores = [model["unfiltered"]["ndcg@10"]["mean"] for model in found["models"]]
    assert scores == sorted(scores, reverse=True)
    for model in found["models"]:
        by_seed = model["filtered"]["hr@10"]["by_seed"]
        assert model["filtered"]["hr@10"]["mean"] == pytest.approx(sum(by_seed) / len(by_seed))
    first, second = (model["model"] for model in found["models"][:2])
    (pair,) = [p for p in found["pairs"]["unfiltered"] if {p["a"], p["b"]} == {first, second}]
    assert pair["difference"] == pytest.approx(scores[0] - scores[1])
    assert len(found["pairs"]["filtered"]) == 3
    assert pair["p_holm"] >= pair["p_value"]


def test_costs_are_recorded(done):
    _, found, _ = done
    for run in found["runs"]:
        trained = run["model"] != "popularity"
        assert run["training_seconds"] > 0
        assert run["latency_ms"] > 0
        assert run["peak_bytes"] > 50_000_000
        assert len(run["epochs"]) == int(trained)
        assert ("parameters" in run) == trained
        assert run["source"] == CONTESTANTS[run["model"]].source
        assert bool(run["settings"]) == trained


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_cuda_models_learn_the_same_and_memory_is_the_devices(tmp_path):
    on_cpu, on_cuda = (
        compared(tmp_path / device, MODELS, budget=Budget(epochs=8), device=device)
        for device in ("cpu", "cuda")
    )
    assert not on_cuda["failed"]
    values = [{m["model"]: m["filtered"]["ndcg@10"]["mean"] for m in f["models"]} for f in (on_cpu, on_cuda)]
    assert values[0]["popularity"] == values[1]["popularity"]
    for name in ("sasrec", "recgrela"):
        assert values[1][name] == pytest.approx(values[0][name], abs=0.1)
        assert values[1][name] > values[1]["popularity"] + 0.1
    peaks = {run["model"]: run["peak_bytes"] for run in on_cuda["runs"]}
    assert peaks["sasrec"] < 100_000_000 < peaks["popularity"]
    assert {run["environment"]["device"] for run in on_cuda["runs"]} == {torch.cuda.get_device_name()}


@pytest.mark.parametrize("run", ["sasrec-0", "recgrela-1", "popularity-0"])
def test_a_run_without_trouble_leaves_an_empty_log(done, run):
    out, _, _ = done
    assert (out / "runs" / run / "log.txt").read_text() == ""


def test_json_and_csv_hold_the_table(done):
    out, found, _ = done
    assert json.loads((out / "comparison.json").read_text()) == json.loads(json.dumps(found))
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == [model["model"] for model in found["models"]]
    assert float(rows[0]["unfiltered_ndcg@10"]) == found["models"][0]["unfiltered"]["ndcg@10"]["mean"]


def test_what_is_measured_is_not_measured_again_and_more_may_be_added(done, monkeypatch):
    out, found, _ = done
    memory, asked = Memory(), []

    def pretended(run: Run, *rest) -> str:
        asked.append(run)
        return "not in this test"

    monkeypatch.setattr(contest, "_in_its_process", pretended)
    again = compared(
        out, [*MODELS, "markov"] if "markov" in CONTESTANTS else MODELS, seeds=(0, 1, 2), watcher=memory
    )
    assert {run.seed for run in asked if run.model in ("sasrec", "recgrela")} == {2}
    assert Run("popularity", 0) not in asked
    assert again["models"] == found["models"]
    assert all("not in this test" in why for why in again["failed"].values())


def test_a_model_that_fails_is_named_and_the_others_go_on(tmp_path):
    broken = tmp_path / "out" / "runs" / "sasrec-0"
    memory = Memory()
    compared(tmp_path / "out", ["popularity"])
    broken.mkdir(parents=True)
    (broken / "epochs.json").write_text("{")
    found = compared(tmp_path / "out", ["sasrec", "popularity"], watcher=memory)
    assert [word for word, _ in memory.heard] == ["begins", "fails", "ends"]
    why = found["failed"]["sasrec, seed 0"]
    assert "JSONDecodeError" in why
    assert "exit code 1" in why
    assert str(broken / "log.txt") in why
    assert [model["model"] for model in found["models"]] == ["popularity"]


def test_a_result_that_is_damaged_is_named(tmp_path):
    compared(tmp_path / "out", ["popularity"])
    (tmp_path / "out" / "runs" / "popularity-0" / RESULT).write_text("[1")
    with pytest.raises(RunError, match=r"popularity-0 is damaged.*remove that folder"):
        compared(tmp_path / "out", ["popularity"])


@pytest.mark.parametrize(
    ("models", "seeds", "words"),
    [
        (["sasrek"], [0], "no model 'sasrek' to compare; expected some of recgrela"),
        ([], [0], "models are none"),
        (["sasrec", "sasrec"], [0], "each once"),
        (["sasrec"], [], "seeds are"),
        (["sasrec"], [0, 0], "seeds are"),
        (["sasrec"], [-1], "seeds are"),
    ],
)
def test_nonsense_is_refused(models, seeds, words):
    with pytest.raises(ConfigError, match=words):
        list(planned(models, seeds))


def test_a_folder_of_another_comparison_is_refused_and_left_as_it_was(tmp_path):
    out = tmp_path / "out"
    compared(out, ["popularity"])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="holds a comparison with budget"):
        compared(out, ["popularity"], budget=Budget(epochs=2))
    with pytest.raises(RunError, match="holds a comparison with fingerprint"):
        compared(out, ["popularity"], log=small_log(seed=1))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"is not empty \(thesis.txt\) and holds no comparison"):
        compared(other, ["popularity"])
    (out / "settings.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match=r"settings.json is damaged"):
        compared(out, ["popularity"])


def test_interrupted_it_goes_on_and_ends_with_the_same_figures(tmp_path, done):
    """The command is interrupted as a terminal does it, in the middle of a training."""
    small_log().to_csv(tmp_path / "log.csv", index=False)
    command = [sys.executable, "-m", "grela", "compare", str(tmp_path / "log.csv"), "--models", "sasrec"]
    command += ["--seeds", "1", "--epochs", "300", "--threads", "1", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stderr:
        if "epoch 3 done" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert not (tmp_path / "out" / "runs" / "sasrec-0" / RESULT).exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "sasrec" in again.stdout
    whole = compared(tmp_path / "unbroken", ["sasrec"], budget=Budget(epochs=300))
    resumed = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert resumed["models"][0]["filtered"] == whole["models"][0]["filtered"]


def test_pairs_of_the_page_are_those_of_what_users_got(done):
    out, found, _ = done
    means = {}
    for name in MODELS:
        of_seeds = [read_result(path) for path in sorted((out / "runs").glob(f"{name}-[01]"))]
        of_seeds = [users["filtered/ndcg@10"] for _, users in of_seeds]
        means[name] = sum(of_seeds) / len(of_seeds)
    names = [model["model"] for model in found["models"]]
    expected = all_pairs({name: means[name] for name in names})
    assert [pair["difference"] for pair in found["pairs"]["filtered"]] == pytest.approx(
        [pair.difference for pair in expected]
    )
