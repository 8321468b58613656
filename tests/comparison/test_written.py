"""What the runs of a folder found is written as JSON, CSV and a page, together."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from grela.comparison.budget import Budget
from grela.comparison.folder import METRICS, RESULT, USERS, VIEWS, Settings, run_path
from grela.comparison.table import written
from grela.configuration import Config

USERS_TESTED = 30


def _run(folder: Path, model: str, seed: int, level: float) -> None:
    """A finished floor's run, whose users reach about `level`."""
    rng = np.random.default_rng(seed)
    users = {
        f"{view}/{metric}": level + rng.uniform(-0.05, 0.05, USERS_TESTED)
        for view in VIEWS
        for metric in METRICS
    }
    at = run_path(folder, model, seed)
    save_file(users, at / USERS)
    record = {
        "model": model,
        "seed": seed,
        "source": "nowhere",
        "epochs": [],
        "settings": {},
        "by_history_length": [],
    }
    record |= {
        view: {metric: float(users[f"{view}/{metric}"].mean()) for metric in METRICS} for view in VIEWS
    }
    record |= {"valid": level, "training_seconds": 0.1, "peak_bytes": None, "latency_ms": 1.5}
    record |= {"users": USERS_TESTED, "items": 9, "targets": USERS_TESTED, "targets_already_seen": 0}
    record |= {"tie_rule": "against", "protocol": "full", "interval": "bootstrap"}
    (at / RESULT).write_text(json.dumps(record))


def test_json_table_and_page_tell_of_the_same_models(tmp_path: Path) -> None:
    _run(tmp_path, "lower", 0, 0.2)
    _run(tmp_path, "higher", 0, 0.4)
    settings = Settings(Config(), Budget(epochs=3), "f1n6er", "given", "a log", ["it was read"], ["split"])
    found = written(tmp_path, settings, {"third, seed 0": "it broke"})
    assert json.loads((tmp_path / "comparison.json").read_text()) == found
    lines = (tmp_path / "comparison.csv").read_text().splitlines()
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert [model["model"] for model in found["models"]] == ["higher", "lower"]
    assert [line.split(",")[0] for line in lines[1:]] == ["higher", "lower"]
    assert page.index("<bdi>higher</bdi>") < page.index("<bdi>lower</bdi>")
    for words in ("f1n6er", "a log", "it was read", "third, seed 0", "it broke", "3 epochs each"):
        assert words in page
    for model in found["models"]:
        assert f"{model['unfiltered']['ndcg@10']['mean']:.4f}" in page
    assert not list(tmp_path.glob("*.part*"))
