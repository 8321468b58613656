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
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from grela.configuration import Config, config_from
from grela.data.histories import Histories
from grela.data.splitting import Split, train_item_counts
from grela.data.vocabulary import RawId, Vocabulary
from grela.errors import ConfigError, RunError
from grela.training.loop import METRICS

RUN = "run.json"
ITEMS = "items.parquet"
HISTORIES = "histories.parquet"
FORMAT = 1


@dataclass(frozen=True)
class RunFacts:
    """What identifies a run: settings, data and split; `prepared` and `split_report` are for people."""

    config: Config
    fingerprint: str
    time_unit: str
    source: str
    prepared: list[str]
    split_report: list[str]
    command: str
    finished: bool = False

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's own types."""
        return {"format": FORMAT, **self.__dict__, "config": self.config.to_json()}


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
    old, new = _flat(before.config.to_json()), _flat(now.config.to_json())
    return found + [f"{name} was {old[name]}, not {new[name]}" for name in new if old.get(name) != new[name]]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def read_facts(folder: Path) -> RunFacts:
    """The facts of the run in `folder`; raises RunError where there is none, or it is damaged."""
    path = folder / RUN
    if not path.is_file():
        raise RunError(
            f"{folder} is not a run folder: it has no {RUN}; make one with `grela fit EVENTS --out RUN`"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise RunError(f"{path} is of another version of grela; fit again with this one")
        return RunFacts(**values | {"config": config_from(values["config"])})
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{path} is damaged: {error}; restore it or fit into a new folder") from error


def write_data(folder: Path, split: Split, titles: dict[RawId, str]) -> None:
    """Write the catalogue and the histories."""
    histories = split.histories
    items = histories.catalogue.ids
    pq.write_table(
        pa.table(
            {
                "item": items,
                "title": pa.array([titles.get(raw) for raw in items.to_pylist()], pa.string()),
                "train_events": pa.array(train_item_counts(split)[1:]),
            }
        ),
        folder / ITEMS,
    )
    offsets = pa.array(histories.offsets)
    pq.write_table(
        pa.table(
            {
                "user": histories.users.ids,
                "items": pa.LargeListArray.from_arrays(offsets, pa.array(np.asarray(histories.items))),
                "times": pa.LargeListArray.from_arrays(offsets, pa.array(np.asarray(histories.times))),
            }
        ),
        folder / HISTORIES,
    )


def read_data(folder: Path, facts: RunFacts) -> tuple[Split, dict[RawId, str]]:
    """The split and the titles of a run; raises RunError if they are not those it was made with."""
    try:
        items, users = pq.read_table(folder / ITEMS), pq.read_table(folder / HISTORIES)
        lists = users["items"].combine_chunks()
        histories = Histories(
            items=lists.values.to_numpy(),
            times=users["times"].combine_chunks().values.to_numpy(),
            offsets=lists.offsets.to_numpy(),
            users=Vocabulary(users["user"].combine_chunks(), first=0),
            catalogue=Vocabulary(items["item"].combine_chunks(), first=1),
            time_unit=facts.time_unit,
        )
    except (OSError, pa.ArrowException, KeyError) as error:
        raise RunError(
            f"cannot read the data of the run {folder}: {error}; restore it or fit again"
        ) from error
    split = facts.config.split.apply(histories)
    if split.fingerprint != facts.fingerprint:
        raise RunError(
            f"the histories in {folder} have fingerprint {split.fingerprint[:12]}, the run was made with "
            f"{facts.fingerprint[:12]}: they were changed; restore them or fit again"
        )
    titled = zip(items["item"].to_pylist(), items["title"].to_pylist(), strict=True)
    return split, {raw: title for raw, title in titled if title is not None}


def environment(device: torch.device) -> dict[str, str]:
    """Versions and the processor, for whoever repeats the run."""
    packages = {name: version(name) for name in ("grela", "torch", "numpy", "duckdb", "pyarrow")}
    return {
        **packages,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": str(torch.get_num_threads()),
    }


def write_json(path: Path, values: Any) -> None:
    """Write JSON in one rename, so that a reader never sees half a file."""
    fresh = path.with_name(path.name + ".part")
    try:
        fresh.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror}; make room or give another folder") from error


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs' metrics; raises RunError if the file is damaged."""
    path = folder / METRICS
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}; restore it or fit again") from error
