"""A comparison's folder: what it was asked for, the data, and one folder for each run.

settings.json         data, split, budget           comparison.json   all that was found
items.parquet, histories.parquet   as in a run      comparison.csv, comparison.html   for people
runs/MODEL-SEED/      result.json, users.safetensors (what every user got), log.txt, checkpoints while unfinished
trials/MODEL-NUMBER/  trial.json, log.txt: settings tried on validation data
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from grela.comparison.budget import Budget
from grela.configuration import Config, config_from
from grela.data.splitting import Split
from grela.errors import ConfigError, RunError
from grela.evaluation.evaluation import Evaluation
from grela.run_data import read_data, write_data
from grela.run_folder import RunFacts, write_json
from grela.training.checkpoint import remove_checkpoints

# C users

SETTINGS, RESULT, USERS, TRIAL, LOG = (
    "settings.json",
    "result.json",
    "users.safetensors",
    "trial.json",
    "log.txt",
)
FORMAT = 1
METRICS = ("ndcg@10", "hr@10")
VIEWS = ("filtered", "unfiltered")


@dataclass(frozen=True)
class Settings:
    """What all runs of a comparison share; `prepared` and `split_report` are for people."""

    config: Config
    budget: Budget
    fingerprint: str
    time_unit: str
    source: str
    prepared: list[str]
    split_report: list[str]

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's own types."""
        config = {name: asdict(getattr(self.config, name)) for name in ("preparation", "split")}
        return {"format": FORMAT, **self.__dict__, "config": config, "budget": asdict(self.budget)}


def claim(folder: Path, settings: Settings, split: Split) -> None:
    """Make `folder` the comparison's, or find that it is; RunError where it holds another or anything else."""
    path = folder / SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            strangers = sorted(
                entry.name for entry in folder.iterdir() if not entry.name.endswith((".part", ".parquet"))
            )
            if strangers:
                raise RunError(
                    f"{folder} is not empty ({', '.join(strangers[:3])}) and holds no comparison: "
                    "give a new folder as --out"
                )
            write_data(folder, split, {})
            write_json(path, settings.to_json())
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror or error}; give another --out") from error
    before = read_settings(folder)
    for name in ("fingerprint", "budget"):
        if getattr(before, name) != getattr(settings, name):
            raise RunError(
                f"{folder} holds a comparison with {name} {getattr(before, name)}, not {getattr(settings, name)}: "
                "figures of the two would not be comparable; give a new folder as --out"
            )


def read_settings(folder: Path) -> Settings:
    """The settings of the comparison in `folder`; RunError where there is none, or it is damaged."""
    path = folder / SETTINGS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise RunError(f"{path} is of another version of grela; compare again into a new folder")
        budget, config = Budget(**values.pop("budget")), config_from(values.pop("config"))
        return Settings(config=config, budget=budget, **values)
    except OSError as error:
        raise RunError(
            f"{folder} is not a comparison's folder: {error.strerror or error}; make one with `grela compare`"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise RunError(
            f"{path} is damaged: {error}; restore it or compare again into a new folder"
        ) from error


def read_split(folder: Path, settings: Settings) -> Split:
    """The split that all models share; RunError if the data are not those it was made of."""
    facts = RunFacts(
        config=settings.config,
        fingerprint=settings.fingerprint,
        time_unit=settings.time_unit,
        source=settings.source,
        prepared=settings.prepared,
        split_report=settings.split_report,
        command="",
    )
    return read_data(folder, facts)[0]


def run_path(folder: Path, name: str, seed: int) -> Path:
    """The folder of one run, made where it is missing."""
    return _made(folder / "runs" / f"{name}-{seed}")


def trial_path(folder: Path, name: str, number: int) -> Path:
    """The folder of one trial, made where it is missing."""
    return _made(folder / "trials" / f"{name}-{number}")


def _made(at: Path) -> Path:
    at.mkdir(parents=True, exist_ok=True)
    return at


def write_trial(at: Path, record: dict[str, Any]) -> None:
    """Leave what a trial found."""
    write_json(at / TRIAL, record)
    remove_checkpoints(at)


def read_trial(at: Path) -> dict[str, Any] | None:
    """What a trial found; None where it is not finished."""
    if not (at / TRIAL).exists():
        return None
    try:
        record: dict[str, Any] = json.loads((at / TRIAL).read_text(encoding="utf-8"))
        return record
    except (OSError, ValueError) as error:
        raise RunError(
            f"the trial in {at} is damaged: {error}; remove that folder and compare again"
        ) from error


def write_result(at: Path, record: dict[str, Any], evaluation: Evaluation) -> None:
    """Leave what a run found; the record last, so that a run with one is whole."""
    users = {
        f"{view}/{metric}": evaluation.per_user(metric, "filtered" if view == "filtered" else "unfiltered")
        for view in VIEWS
        for metric in METRICS
    }
    save_file({"users": evaluation.users, **users}, at / USERS)
    write_json(at / RESULT, record)
    remove_checkpoints(at)


def read_result(at: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """A finished run's record and what every user got, float64 [C] by "view/metric"; None where it is not finished."""
    if not (at / RESULT).exists():
        return None
    try:
        record: dict[str, Any] = json.loads((at / RESULT).read_text(encoding="utf-8"))
        return record, load_file(at / USERS)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(
            f"the run in {at} is damaged: {error}; remove that folder and compare again"
        ) from error
