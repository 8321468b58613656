"""A run's folder: what a fit leaves behind, readable without this library, and nothing pickled.

run.json              command's settings, split fingerprint, whether finished
model.json            the model's shape            model.safetensors   its weights
items.parquet         item, title, train_events; row j is dense item j + 1
histories.parquet     user, items (dense), times; in the order of dense users
metrics.jsonl         one line an epoch            evaluation.json     the test set, read once
environment.json      versions and processor       MODEL_CARD.md       for people
report.html           for people                   checkpoint*.safetensors   while unfinished
"""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from grela.configuration import Config, config_from
from grela.continuing import Parent
from grela.errors import ConfigError, RunError
from grela.training.loop import METRICS

RUN = "run.json"
FORMAT = 2


@dataclass(frozen=True)
class RunFacts:
    """What identifies a run: settings, data and split, and what it started from; the lines are for people."""

    config: Config
    fingerprint: str
    time_unit: str
    source: str
    prepared: list[str]
    split_report: list[str]
    command: str
    finished: bool = False
    parent: Parent | None = None

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's own types."""
        values = {"format": FORMAT, **self.__dict__, "config": self.config.to_json()}
        parent = values.pop("parent")
        return values if parent is None else values | {"parent": asdict(parent)}


def claim(folder: Path, facts: RunFacts) -> bool:
    """Make `folder` the run's, or find it already is; True if the run in it is finished.

    Raises RunError when it holds a run of other data or settings, or anything else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the run folder {folder}: {error.strerror}; give another --out"
        ) from error
    if not (folder / RUN).exists():
        strangers = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".part"))
        if strangers:
            raise RunError(
                f"{folder} is not empty ({', '.join(strangers[:3])}) and holds no run: give a new folder as --out"
            )
        write_json(folder / RUN, facts.to_json())
        return False
    before = read_facts(folder)
    changed = _differences(before, facts)
    if changed:
        raise RunError(
            f"{folder} holds a run with other settings: {'; '.join(changed)}. "
            "Repeat its settings to go on with it, or give a new folder as --out"
        )
    return before.finished


def _differences(before: RunFacts, now: RunFacts) -> list[str]:
    found = []
    if before.fingerprint != now.fingerprint:
        found.append(
            f"its data or split has fingerprint {before.fingerprint[:12]}, not {now.fingerprint[:12]}"
        )
    if (now.parent is None) != (before.parent is None) or (now.parent and not now.parent.same(before.parent)):
        started = [f"from {facts.parent.run}" if facts.parent else "anew" for facts in (before, now)]
        found.append(f"it started {started[0]}, not {started[1]}, or that run has changed")
    old, new = flat(before.config.to_json()), flat(now.config.to_json())
    return found + [f"{name} was {old[name]}, not {new[name]}" for name in new if old.get(name) != new[name]]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, by names such as "training.epochs"."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def read_facts(folder: Path) -> RunFacts:
    """The facts of the run in `folder`; raises RunError where there is none, or it is damaged."""
    path = folder / RUN
    if not path.is_file():
        raise RunError(
            f"{folder} is not a run folder: it has no {RUN}; make one with `grela fit EVENTS --out RUN`"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it holds {type(values).__name__}, expected a table of facts")
        if values.pop("format", None) != FORMAT:
            raise RunError(f"{path} is of another version of grela; fit again with this one")
        parent = None if values.get("parent") is None else Parent(**values["parent"])
        facts = RunFacts(**values | {"config": config_from(values["config"]), "parent": parent})
        _check_types(facts)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
        raise RunError(f"{path} is damaged: {error}; restore it or fit into a new folder") from error
    return facts


def finished_facts(folder: Path) -> RunFacts:
    """The facts of the finished run in `folder`; raises RunError as `read_facts`, and where it is unfinished."""
    facts = read_facts(folder)
    if not facts.finished:
        raise RunError(
            f"the run in {folder} is unfinished; repeat its `grela fit` command, it goes on from there"
        )
    return facts


def _check_types(facts: RunFacts) -> None:
    for name in ("fingerprint", "time_unit", "source", "command"):
        if not isinstance(getattr(facts, name), str):
            raise TypeError(f"{name} is {getattr(facts, name)!r}, expected text")
    for name in ("prepared", "split_report"):
        lines = getattr(facts, name)
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise TypeError(f"{name} is {lines!r}, expected a list of lines")
    if not isinstance(facts.finished, bool):
        raise TypeError(f"finished is {facts.finished!r}, expected true or false")


def environment(device: torch.device, *, kernels: str | None = None) -> dict[str, str]:
    """Versions and the processor, for whoever repeats the run; and what computes the blocks, where it is told."""
    packages = {name: version(name) for name in ("grela", "torch", "numpy", "duckdb", "pyarrow")}
    return {
        **packages,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": str(torch.get_num_threads()),
        **({} if kernels is None else {"kernels": kernels}),
    }


def write_json(path: Path, values: Any) -> None:
    """Write JSON in one rename, so that a reader never sees half a file."""
    fresh = path.with_name(path.name + ".part")
    try:
        fresh.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        if fresh.is_file():
            fresh.unlink()
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; make room or give another folder"
        ) from error


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs' metrics; raises RunError if the file is damaged."""
    path = folder / METRICS
    try:
        epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row, epoch in enumerate(epochs, 1):
            if not isinstance(epoch, dict) or not epoch.keys() >= {"epoch", "loss", "metrics", "best_epoch"}:
                raise ValueError(f"line {row} is no record of an epoch")
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"cannot read {path}: {error}; restore it or fit again") from error
    return epochs
