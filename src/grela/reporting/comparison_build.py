"""From what comparison.json holds to what the page of a comparison shows."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import nan
from pathlib import PurePath
from statistics import fmean
from typing import Any

from grela.reporting import text
from grela.reporting.comparison import (
    METRICS,
    ComparedModel,
    ComparisonData,
    Course,
    LengthScores,
    Pair,
    Score,
)
from grela.reporting.report import Fact
from grela.reporting.text import VIEWS

Found = Mapping[str, Any]


def comparison_data(found: Found) -> ComparisonData:
    """Everything the page shows of one comparison; `found` is the content of comparison.json."""
    runs_of: dict[str, list[Found]] = {}
    for run in found["runs"]:
        runs_of.setdefault(run["model"], []).append(run)
    runs: list[Found] = found["runs"]
    return ComparisonData(
        title=PurePath(found["source"]).name or found["source"],
        split=found["config"]["split"]["kind"],
        budget=_budget(found["budget"]),
        trials=found["budget"]["trials"],
        interval=_only(runs, "interval"),
        models=[_model(model, runs_of[model["model"]]) for model in found["models"]],
        pairs={view: [_pair(pair) for pair in found["pairs"][view]] for view in VIEWS},
        failed=list(found["failed"].items()),
        data=_data(found),
        protocol=_protocol(found, runs),
        machines=_machines(runs),
    )


def _model(row: Found, runs: Sequence[Found]) -> ComparedModel:
    trained = [epoch for run in runs for epoch in run["epochs"]]
    events = sum(epoch["events_per_second"] * epoch["seconds"] for epoch in trained)
    seconds = sum(epoch["seconds"] for epoch in trained)
    return ComparedModel(
        name=row["model"],
        source=row["source"],
        seeds=row["seeds"],
        scores={view: {metric: _score(row[view][metric]) for metric in METRICS} for view in VIEWS},
        valid=(_selected_by(runs[0]).split("/")[0], _number(row["valid"])),
        epochs=row["epochs"],
        best_epochs=[run["best_epoch"] for run in runs if run["epochs"]],
        courses=[_course(run["epochs"]) for run in runs if run["epochs"]],
        by_length=_by_length(runs),
        training_seconds=_number(row["training_seconds"]),
        events_per_second=events / seconds if seconds else nan,
        peak_bytes=_number(row["peak_bytes"]),
        latency_ms=_number(row["latency_ms"]),
        parameters=_number(row["parameters"]),
        settings=_settings(runs),
    )


def _score(found: Found) -> Score:
    low, high = found["interval"]
    return Score((found["mean"], low, high), found["by_seed"])


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


def _selected_by(run: Found) -> str:
    """The metric that chose the epoch; a floor, which has none, is validated with seen items filtered."""
    return str(run.get("selected_by", "filtered/ndcg@10"))


def _metric(key: str) -> str:
    """In words; "unfiltered/ndcg@10" is "NDCG@10, not filtered"."""
    view, metric = key.split("/")
    return f"{METRICS[metric]}, {VIEWS[view]}"


def _course(epochs: Sequence[Found]) -> Course:
    return Course(
        list(accumulate(epoch["seconds"] for epoch in epochs)),
        {view: [epoch["metrics"].get(f"{view}/ndcg@10", nan) for epoch in epochs] for view in VIEWS},
    )


def _by_length(runs: Sequence[Found]) -> list[LengthScores]:
    """The groups of the split, which all runs share."""
    return [
        LengthScores(
            groups[0]["label"],
            groups[0]["low"],
            groups[0]["users"],
            {view: _score_of_group(groups, view) for view in VIEWS},
        )
        for groups in zip(*(run["by_history_length"] for run in runs), strict=True)
    ]


def _score_of_group(groups: Sequence[Found], view: str) -> Score:
    by_seed = [group[view]["ndcg@10"] for group in groups]
    # The intervals of several seeds are of one seed each: none of them is of the mean.
    low, high = groups[0]["intervals"][view]["ndcg@10"] if len(groups) == 1 else (nan, nan)
    return Score((fmean(by_seed), low, high), by_seed)


def _settings(runs: Sequence[Found]) -> list[tuple[str, str]]:
    """Rows of the runs' settings: one value where all seeds have the same, else each seed's."""
    tables = [dict(text.settings(run["settings"])) for run in runs]
    rows = []
    for name in dict.fromkeys(name for table in tables for name in table):
        values = [table.get(name, text.MISSING) for table in tables]
        rows.append((name, values[0] if len(set(values)) == 1 else ", ".join(values)))
    return rows


def _pair(found: Found) -> Pair:
    difference = (found["difference"], found["low"], found["high"])
    return Pair(found["a"], found["b"], difference, found["p_value"], found["p_holm"])


def _budget(budget: Found) -> str:
    if budget["epochs"] is None:
        return f"about {text.duration(budget['seconds'])} of training each"
    return f"{text.counted(budget['epochs'], 'epoch')} each"


def _only(runs: Sequence[Found], key: str) -> str:
    """What the runs say under a key; all of it, should they not agree."""
    return "; or ".join(dict.fromkeys(str(run[key]) for run in runs))


def _data(found: Found) -> list[Fact]:
    return [
        ("log", found["source"]),
        *(("preparation", line) for line in found["prepared"]),
        *(("split", line) for line in found["split_report"]),
        ("unit of the times", found["time_unit"]),
    ]


def _protocol(found: Found, runs: Sequence[Found]) -> list[Fact]:
    split = found["config"]["split"]
    facts: list[Fact] = [("split", split["kind"])]
    facts += [
        (name.replace("_", " "), str(split[name])) for name in ("valid_from", "test_from") if split[name]
    ]
    facts += [
        ("fingerprint of the split", found["fingerprint"]),
        ("budget", _budget(found["budget"])),
        ("settings tried on validation, each model", found["budget"]["trials"]),
    ]
    if not runs:
        return facts
    first = runs[0]
    chosen: dict[str, list[str]] = {}
    for run in runs:
        if run["epochs"] and run["model"] not in chosen.setdefault(_selected_by(run), []):
            chosen[_selected_by(run)].append(run["model"])
    return [
        *facts,
        *((f"epoch kept by validation {_metric(m)}", text.listed(names)) for m, names in chosen.items()),
        ("users tested", first["users"]),
        ("items ranked", first["items"]),
        ("test events", first["targets"]),
        ("test items already seen by their user: misses when filtered", first["targets_already_seen"]),
        ("ranking", _only(runs, "protocol")),
        ("ties", _only(runs, "tie_rule")),
        ("intervals", _only(runs, "interval")),
        (
            "differences",
            "per-user NDCG@10, the mean over a model's seeds, on the same users: permutation test, two-sided, signs of "
            "the users' differences flipped at random; Holm's correction for all pairs of a view",
        ),
    ]


def _machines(runs: Sequence[Found]) -> list[list[Fact]]:
    """What the runs say of their machines, each that differs once."""
    known = [tuple(run.get("environment", {}).items()) for run in runs]
    return [[(key, str(value)) for key, value in machine] for machine in dict.fromkeys(known) if machine]
