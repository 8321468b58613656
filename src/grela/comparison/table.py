"""What the runs of a comparison found, put together: means over seeds, pairs on the same users; as JSON, CSV, HTML."""

import csv
from collections.abc import Mapping
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from grela.comparison.folder import METRICS, VIEWS, Settings, read_result
from grela.evaluation.intervals import bootstrap
from grela.evaluation.significance import Pair, all_pairs
from grela.reporting.comparison import write_comparison
from grela.reporting.comparison_build import comparison_data
from grela.reporting.page import write_page
from grela.run_folder import write_json

# C users

COMPARISON, TABLE, PAGE = "comparison.json", "comparison.csv", "comparison.html"
FORMAT = 1


def written(folder: Path, settings: Settings, failures: Mapping[str, str]) -> dict[str, Any]:
    """Write comparison.json, comparison.csv and comparison.html of all runs in the folder; returns the first."""
    found = {"format": FORMAT, **settings.to_json(), **summary(folder), "failed": dict(failures)}
    write_json(folder / COMPARISON, found)
    write_page(as_csv(found["models"]), folder / TABLE)
    write_comparison(comparison_data(found), folder / PAGE)
    return found


def summary(folder: Path) -> dict[str, Any]:
    """Models, best first by NDCG@10 not filtered; their runs; and every pair of them on the same users."""
    records, means = _read(folder)
    models = [_model(name, records[name], means[name]) for name in records]
    models.sort(key=lambda model: -model["unfiltered"]["ndcg@10"]["mean"])
    names = [model["model"] for model in models]
    pairs = {
        view: [asdict(pair) for pair in all_pairs({n: means[n][f"{view}/ndcg@10"] for n in names})]
        for view in VIEWS
    }
    return {"models": models, "pairs": pairs, "runs": [run for name in names for run in records[name]]}


def differences(folder: Path, against: str, view: str) -> list[Pair]:
    """NDCG@10 of each model less that of one, on the same users, p-values corrected for their number."""
    _, means = _read(folder)
    return all_pairs({name: values[f"{view}/ndcg@10"] for name, values in means.items()}, against=against)


def _read(folder: Path) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[str, np.ndarray]]]:
    """Each model's records, and what every user got of it, the mean over seeds: users are what is compared."""
    records: dict[str, list[dict[str, Any]]] = {}
    per_user: dict[str, list[dict[str, np.ndarray]]] = {}
    for at in sorted((folder / "runs").glob("*/")):
        result = read_result(at)
        if result is not None:
            record, users = result
            records.setdefault(record["model"], []).append(record)
            per_user.setdefault(record["model"], []).append(users)
    means = {
        name: {key: np.mean([users[key] for users in of_seeds], 0) for key in _keys()}
        for name, of_seeds in per_user.items()
    }
    return records, means


def _keys() -> list[str]:
    return [f"{view}/{metric}" for view in VIEWS for metric in METRICS]


def _model(name: str, runs: list[dict[str, Any]], means: Mapping[str, np.ndarray]) -> dict[str, Any]:
    def over_seeds(key: str) -> float | None:
        values = [run[key] for run in runs if run.get(key) is not None]
        return float(np.mean(values)) if values else None

    row: dict[str, Any] = {"model": name, "source": runs[0]["source"], "seeds": [run["seed"] for run in runs]}
    for view in VIEWS:
        row[view] = {
            metric: {
                "mean": float(means[f"{view}/{metric}"].mean()),
                "interval": list(bootstrap(means[f"{view}/{metric}"])),
                "by_seed": [run[view][metric] for run in runs],
            }
            for metric in METRICS
        }
    for key in ("valid", "training_seconds", "peak_bytes", "latency_ms", "parameters"):
        row[key] = over_seeds(key)
    row["epochs"] = [len(run["epochs"]) for run in runs]
    return row


def as_csv(models: list[dict[str, Any]]) -> str:
    """One line a model."""
    out = StringIO()
    columns = [
        f"{view}_{metric}{end}" for view in VIEWS for metric in METRICS for end in ("", "_low", "_high")
    ]
    rest = ["valid", "training_seconds", "peak_bytes", "latency_ms", "parameters"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "seeds", *columns, *rest])
    for model in models:
        figures = [
            value
            for view in VIEWS
            for metric in METRICS
            for value in (model[view][metric]["mean"], *model[view][metric]["interval"])
        ]
        writer.writerow([model["model"], len(model["seeds"]), *figures, *(model[key] for key in rest)])
    return out.getvalue()
