"""Made-up contents of comparison.json: many models, one, none, hostile ones; users, pairs and means agree."""

import copy
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from made_up_reports import HOSTILE

from grela.evaluation.significance import all_pairs

Found = dict[str, Any]

USERS = 300
GROUPS = (("1–20", 1), ("21–50", 21), ("51–100", 51), ("101–200", 101), ("201–500", 201), ("501+", 501))
# name: (level filtered, level not filtered, seconds of an epoch, bytes, milliseconds, parameters)
TRAINED = {
    "recgrela": (0.209, 0.207, 9.1, 620e6, 1.9, 341_120),
    "hstu-time": (0.206, 0.165, 31.0, 1_450e6, 3.2, 310_400),
    "mamba4rec": (0.201, 0.158, 58.0, 1_120e6, 2.4, 298_800),
    "lrurec": (0.199, 0.157, 20.5, 810e6, 2.1, 280_050),
    "sasrec": (0.198, 0.155, 14.2, 760e6, 1.6, 236_200),
    "gsasrec": (0.193, 0.153, 14.9, 765e6, 1.6, 236_200),
    "linrec": (0.190, 0.149, 13.0, 700e6, 1.7, 262_144),
    "gru4rec": (0.183, 0.146, 25.0, 640e6, 1.2, 251_000),
    "bert4rec": (0.172, 0.139, 44.0, 900e6, 3.9, 402_000),
}
FLOORS = {
    "item-knn": (0.101, 0.064, 2.1, 420e6, 0.9, None),
    "markov": (0.097, 0.081, 0.4, 400e6, 0.2, None),
    "popularity": (0.026, 0.011, 0.003, 345e6, 0.0044, None),
}


def found(
    names: list[str] | None = None, *, seeds: int = 3, epochs: int = 12, rename: dict[str, str] | None = None
) -> Found:
    """A comparison of these models (all, if not told); floors have the seed 0 alone."""
    names = [*TRAINED, *FLOORS] if names is None else names
    return copy.deepcopy(_found(tuple(names), seeds, epochs, tuple((rename or {}).items())))


@cache
def _found(names: tuple[str, ...], seeds: int, epochs: int, renamed: tuple[tuple[str, str], ...]) -> Found:
    rename = dict(renamed)
    levels = TRAINED | FLOORS
    rng = np.random.default_rng(7)
    ease = rng.uniform(-0.35, 0.35, USERS)
    runs: list[Found] = []
    values: dict[str, dict[str, np.ndarray]] = {}
    for name in names:
        of_seeds = []
        for seed in range(seeds if name in TRAINED else 1):
            users = {
                f"{view}/{metric}": level
                * (factor + 1.5 * ease + rng.normal(0, 0.35, USERS) + rng.normal(0, 0.01))
                for view, level in zip(("filtered", "unfiltered"), levels[name], strict=False)
                for metric, factor in (("ndcg@10", 1.0), ("hr@10", 1.7))
            }
            of_seeds.append(users)
            runs.append(_run(rng, rename.get(name, name), name, seed, users, epochs))
        values[rename.get(name, name)] = {
            key: np.mean([users[key] for users in of_seeds], 0) for key in of_seeds[0]
        }
    models = [_model(name, [r for r in runs if r["model"] == name], of) for name, of in values.items()]
    models.sort(key=lambda model: -model["unfiltered"]["ndcg@10"]["mean"])
    order = [model["model"] for model in models]
    return {
        "format": 1,
        "config": {
            "preparation": {"min_user_events": 5, "min_item_events": 5, "repeats": "keep"},
            "split": {"kind": "leave-one-out", "valid_from": None, "test_from": None},
        },
        "budget": {"epochs": epochs, "seconds": None, "trials": 0},
        "fingerprint": "95a80512bc2a0b6cb55d96797db7403da928400ba1270e2f6d2dc742a65b1ca5",
        "time_unit": "given",
        "source": "ml-1m",
        "prepared": ["ml-1m: 1,000,209 events, 6,040 users, 3,706 items"],
        "split_report": ["split: leave-one-out", "train: 6,040 users, 988,129 events"],
        "models": models,
        "pairs": {
            view: [asdict(pair) for pair in all_pairs({n: values[n][f"{view}/ndcg@10"] for n in order})]
            for view in ("filtered", "unfiltered")
        },
        "runs": [run for name in order for run in runs if run["model"] == name],
        "failed": {},
    }


def _run(
    rng: np.random.Generator, shown: str, name: str, seed: int, users: dict[str, np.ndarray], epochs: int
) -> Found:
    trained = name in TRAINED
    _, _, cost, size, latency, parameters = (TRAINED | FLOORS)[name]
    run: Found = {
        "model": shown,
        "seed": seed,
        "source": f"Author and Author, venue, arXiv 1234.{len(name):05}",
        "users": USERS,
        "items": 3_706,
        "targets": USERS,
        "targets_already_seen": 17,
        "tie_rule": "ties count against the model",
        "protocol": "full ranking of the whole catalogue, no sampled negatives",
        "interval": "95 % percentile bootstrap over users, 1000 resamples, seed 0",
        "latency_ms": latency * rng.uniform(0.9, 1.1),
        "peak_bytes": int(size * rng.uniform(0.97, 1.03)),
        "training_seconds": cost,
        "epochs": [],
        "settings": {},
        "by_history_length": [
            _group(rng, label, low, users, slice(j * 50, (j + 1) * 50))
            for j, (label, low) in enumerate(GROUPS)
        ],
    }
    for view in ("filtered", "unfiltered"):
        run[view] = {metric: float(users[f"{view}/{metric}"].mean()) for metric in ("ndcg@10", "hr@10")}
    run["valid"] = run["filtered"]["ndcg@10"] * 1.05
    if trained:
        own = "unfiltered" if name == "recgrela" else "filtered"
        run["epochs"] = [_epoch(rng, j, run, cost, epochs) for j in range(1, epochs + 1)]
        best = max(range(epochs), key=lambda j: run["epochs"][j]["metrics"][f"{own}/ndcg@10"])
        run |= {
            "selected_by": f"{own}/ndcg@10",
            "valid": run["epochs"][best]["metrics"][f"{own}/ndcg@10"],
            "best_epoch": best + 1,
            "training_seconds": sum(epoch["seconds"] for epoch in run["epochs"]),
            "parameters": parameters,
            "settings": {
                "model": {"width": 64, "dropout": 0.2},
                "training": {"learning_rate": 1e-3, "seed": seed},
            },
        }
    return run


def _group(
    rng: np.random.Generator, label: str, low: int, users: dict[str, np.ndarray], part: slice
) -> Found:
    group: Found = {"label": label, "low": low, "high": None, "users": 50, "intervals": {}}
    for view in ("filtered", "unfiltered"):
        values = users[f"{view}/ndcg@10"][part] * (1.3 - low / 800)
        group[view] = {"ndcg@10": float(values.mean())}
        group["intervals"][view] = {"ndcg@10": _interval(values)}
    return group


def _interval(values: np.ndarray) -> list[float]:
    spread = 1.96 * values.std() / len(values) ** 0.5
    return [float(values.mean() - spread), float(values.mean() + spread)]


def _epoch(rng: np.random.Generator, epoch: int, run: Found, cost: float, epochs: int) -> Found:
    risen = 1.05 * (1 - np.exp(-4 * epoch / epochs)) + rng.normal(0, 0.01)
    return {
        "epoch": epoch,
        "loss": 6.0 / epoch,
        "metrics": {
            f"{view}/ndcg@10": float(run[view]["ndcg@10"] * risen) for view in ("filtered", "unfiltered")
        },
        "seconds": cost * rng.uniform(0.95, 1.05),
        "events_per_second": 988_129 / cost,
        "best_epoch": epoch,
    }


def _model(name: str, runs: list[Found], values: dict[str, np.ndarray]) -> Found:
    row: Found = {"model": name, "source": runs[0]["source"], "seeds": [run["seed"] for run in runs]}
    for view in ("filtered", "unfiltered"):
        row[view] = {
            metric: {
                "mean": float(values[f"{view}/{metric}"].mean()),
                "interval": _interval(values[f"{view}/{metric}"]),
                "by_seed": [run[view][metric] for run in runs],
            }
            for metric in ("ndcg@10", "hr@10")
        }
    for key in ("valid", "training_seconds", "peak_bytes", "latency_ms", "parameters"):
        known = [run[key] for run in runs if run.get(key) is not None]
        row[key] = float(np.mean(known)) if known else None
    row["epochs"] = [len(run["epochs"]) for run in runs]
    return row


def full() -> Found:
    """Nine trained models of three seeds, three floors, a failed run."""
    every = found()
    every["failed"] = {"bert4rec, seed 3": "MemoryError; exit code 1; see runs/bert4rec-3/log.txt"}
    return every


def nothing() -> Found:
    """All runs have failed."""
    return found([]) | {"failed": {"sasrec, seed 0": "it was killed by signal 9"}}


def hostile() -> Found:
    """Every text is hostile, also the models' names."""
    names = [*TRAINED, *FLOORS]
    every = found(rename=dict(zip(names, HOSTILE[:9], strict=False)))
    for part in (*every["models"], *every["runs"]):
        part["source"] = " ".join(HOSTILE)
    for run in every["runs"]:
        run |= dict.fromkeys(("tie_rule", "protocol", "interval"), " ".join(HOSTILE))
        run["settings"] = {h: {h: h} for h in HOSTILE}
        run["environment"] = {h: h for h in HOSTILE}
        for group, label in zip(run["by_history_length"], HOSTILE, strict=False):
            group["label"] = label
    every["failed"] = {h: h for h in HOSTILE}
    every |= {"source": HOSTILE[0] + HOSTILE[7], "prepared": list(HOSTILE), "split_report": list(HOSTILE)}
    every["fingerprint"] = every["time_unit"] = every["config"]["split"]["kind"] = HOSTILE[1]
    return every


def crowded() -> Found:
    """Twenty-four models of one seed that can hardly be told apart."""
    every = found(seeds=1)
    other = found(seeds=1, rename={name: f"{name}-with-another-loss" for name in (*TRAINED, *FLOORS)})
    for part in ("models", "runs"):
        every[part] = sorted(every[part] + other[part], key=lambda row: -_level(row))
    order = [model["model"] for model in every["models"]]
    for view in ("filtered", "unfiltered"):
        every["pairs"][view] = [
            {"a": a, "b": b, "difference": 0.001, "low": -0.001, "high": 0.003, "p_value": 0.3, "p_holm": 1.0}
            for j, a in enumerate(order)
            for b in order[j + 1 :]
        ]
    return every


def _level(row: Found) -> float:
    value = row["unfiltered"]["ndcg@10"]
    return float(value["mean"] if isinstance(value, dict) else value)


def single() -> Found:
    """One model, one seed, one epoch, one group."""
    only = found(["sasrec"], seeds=1, epochs=1)
    only["runs"][0]["by_history_length"] = only["runs"][0]["by_history_length"][:1]
    return only


COMPARISONS = {
    "full": full,
    "single": single,
    "nothing": nothing,
    "hostile": hostile,
    "crowded": crowded,
    "one seed": lambda: found(["recgrela", "sasrec", "popularity"], seeds=1),
    "floors": lambda: found(["item-knn", "popularity"]),
}
