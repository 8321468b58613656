"""The main job, as the README gives it: real data in, recommendations by title out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `grela fit ml-100k`, with every default."""
    folder = tmp_path_factory.mktemp("main-job") / "ml-100k"
    done = grela("fit", "ml-100k", "--out", str(folder), "--log", "lines")
    if done.returncode and "To have ml-100k" in done.stderr:
        pytest.skip(
            "MovieLens-100K cannot be had: neither its publisher nor a package registry can be reached"
        )
    assert done.returncode == 0, done.stderr
    return folder


def grela(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The library's folder goes first, so that the command tested is this checkout's.
    environment = os.environ | {"PYTHONPATH": str(README.parent / "src")}
    return subprocess.run(
        [sys.executable, "-m", "grela", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.mark.slow
def test_the_model_is_clearly_better_than_popularity(run: Path) -> None:
    result = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    low, high = result["intervals"]["filtered"]["ndcg@10"]
    assert result["popularity"]["filtered"]["ndcg@10"] < low
    assert low < result["filtered"]["ndcg@10"] < high < 0.3
    assert result["users"] == 943


@pytest.mark.slow
def test_recommendations_are_films_by_title(run: Path) -> None:
    done = grela("recommend", str(run), "--user", "196", "--json")
    (found,) = json.loads(done.stdout)
    assert len(found["items"]) == 10
    assert all(item["title"] for item in found["items"])
    assert len({item["item"] for item in found["items"]}) == 10


@pytest.mark.slow
def test_evaluate_says_again_what_fit_measured(run: Path) -> None:
    done = grela("evaluate", str(run), "--json")
    measured = json.loads(done.stdout)
    written = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert measured["fingerprint"] == written["fingerprint"]
    assert measured["filtered"]["ndcg@10"] == pytest.approx(written["filtered"]["ndcg@10"], rel=1e-6)


@pytest.mark.slow
def test_the_run_folder_holds_what_it_should_and_nothing_pickled(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "MODEL_CARD.md",
        "environment.json",
        "evaluation.json",
        "histories.parquet",
        "items.parquet",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
        "report.html",
        "run.json",
    }


def test_the_readme_gives_the_command_that_is_tested_here() -> None:
    text = README.read_text(encoding="utf-8")
    assert ".venv/bin/grela fit ml-100k --out runs/ml-100k" in text
    assert ".venv/bin/grela recommend runs/ml-100k --user 196" in text
