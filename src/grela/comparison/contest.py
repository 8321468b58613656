"""All models with all seeds, one process after the other; whoever fails is named, and the others go on."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from grela.comparison.budget import Budget
from grela.comparison.contestants import CONTESTANTS, Floor, contestant
from grela.comparison.folder import (
    LOG,
    Settings,
    claim,
    read_result,
    read_trial,
    run_path,
    trial_path,
    write_trial,
)
from grela.comparison.table import written
from grela.comparison.tuning import Changes, best_settings
from grela.configuration import Config
from grela.data.events import Events
from grela.data.preparation import prepare
from grela.errors import ConfigError, RunError
from grela.fitting import must_be_trainable, sized


@dataclass(frozen=True)
class Run:
    """A model and a seed; a floor has the seed 0 alone. Or a trial of settings, by its number."""

    model: str
    seed: int
    trial: int | None = None

    def __str__(self) -> str:
        return (
            f"{self.model}, seed {self.seed}"
            if self.trial is None
            else f"{self.model}, trial {self.trial + 1}"
        )


class Watcher(Protocol):
    """Hears how a comparison goes."""

    def begins(self, run: Run, number: int, of: int) -> None:
        """A run begins, the `number`-th of all, or goes on where it was."""

    def tells(self, run: Run, event: dict[str, Any]) -> None:
        """What the run's training says: as `grela.training.json_lines`."""

    def ends(self, run: Run, record: dict[str, Any]) -> None:
        """A run is measured, now or before."""

    def fails(self, run: Run, why: str) -> None:
        """A run has failed; the next one begins."""


def compare(
    events: Events,
    *,
    models: Sequence[str],
    seeds: Sequence[int],
    budget: Budget,
    out: Path,
    threads: int,
    device: torch.device,
    watcher: Watcher,
    config: Config | None = None,
) -> dict[str, Any]:
    """Measure every model with every seed on one split, in the folder `out`; returns what comparison.json holds.

    All are trained and measured on `device`. What is measured already is not measured again: the same call goes on
    after an interruption, and more models or seeds add to the table. Runs that failed are tried again. config:
    preparation and split. Raises ConfigError for an unknown model or nonsensical seeds, DataError for bad events,
    RunError for a folder of another comparison.
    """
    runs = list(planned(models, seeds))
    config = config or Config()
    histories, prepared = prepare(events, config.preparation)
    split = config.split.apply(histories)
    must_be_trainable(split, sized(config, split))
    settings = Settings(
        config=config,
        budget=budget,
        fingerprint=split.fingerprint,
        time_unit=histories.time_unit,
        source=events.name,
        prepared=prepared.lines(),
        split_report=split.report().lines(),
    )
    claim(out, settings, split)
    shared = {"folder": str(out), "threads": threads, "device": str(device)}
    tuned = _tuned(runs, budget.trials, out, shared, watcher)
    failures: dict[Run, str] = {}
    for number, run in enumerate(runs, 1):
        at = run_path(out, run.model, run.seed)
        found = read_result(at)
        if found is None:
            watcher.begins(run, number, len(runs))
            task = {"model": run.model, "seed": run.seed, "changes": tuned.get(run.model, {}), "trial": None}
            why = _in_its_process(run, task | shared, at, watcher)
            found = read_result(at)
            if why is not None or found is None:
                failures[run] = why or "it ended without a result"
                watcher.fails(run, failures[run])
                continue
            written(out, settings, {str(r): why for r, why in failures.items()})
        watcher.ends(run, found[0])
    return written(out, settings, {str(run): why for run, why in failures.items()})


def _tuned(
    runs: Sequence[Run], trials: int, out: Path, shared: dict[str, Any], watcher: Watcher
) -> dict[str, Changes]:
    """The best settings of each trained model; nothing without trials. `shared` is what all tasks have in common.

    A trial that failed stays failed: were it to succeed later, others would have been asked for after it.
    """
    found: dict[str, Changes] = {}
    if not trials:
        return found
    for name in dict.fromkeys(run.model for run in runs):
        chosen = contestant(name)
        if isinstance(chosen, Floor):
            continue

        def valid_of(number: int, changes: Changes, name: str = name) -> float | None:
            at, run = trial_path(out, name, number), Run(name, 0, trial=number)
            if (record := read_trial(at)) is None:
                watcher.begins(run, number + 1, trials)
                task = {"model": name, "seed": 0, "changes": dict(changes), "trial": number}
                why = _in_its_process(run, task | shared, at, watcher)
                if (record := read_trial(at)) is None:
                    why = why or "it ended without a result"
                    watcher.fails(run, why)
                    record = {
                        "model": name,
                        "trial": number,
                        "changes": dict(changes),
                        "valid": None,
                        "error": why,
                    }
                    write_trial(at, record)
            if record["changes"] != dict(changes):
                raise RunError(
                    f"the trial in {at} was of {record['changes']}, and now {dict(changes)} is asked for: "
                    "another version of Optuna? Install that one again, or compare into a new folder"
                )
            value: float | None = record["valid"]
            return value

        found[name] = best_settings(chosen, trials, valid_of)
    return found


def planned(models: Sequence[str], seeds: Sequence[int]) -> Iterator[Run]:
    """Every model with every seed, seed by seed, so that all models are met early."""
    if not models or len(set(models)) < len(models):
        raise ConfigError(
            f"models are {', '.join(models) or 'none'}; expected some of {', '.join(CONTESTANTS)}, each once"
        )
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"seeds are {list(seeds)}, expected numbers from 0 on, each once")
    of_model = {name: contestant(name) for name in models}
    for seed in seeds:
        for name in models:
            if not isinstance(of_model[name], Floor):
                yield Run(name, seed)
            elif seed == seeds[0]:
                yield Run(name, 0)


def _in_its_process(run: Run, task: dict[str, Any], at: Path, watcher: Watcher) -> str | None:
    """Why the run failed; None if it did not."""
    command = [sys.executable, "-m", "grela.comparison.worker", json.dumps(task)]
    with (at / LOG).open("w", encoding="utf-8") as log:
        # This interpreter and an argument of its own: no shell reads it.
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:  # noqa: S603
            try:
                _listen(process, run, watcher)
            except BaseException:
                process.kill()
                raise
        code = process.returncode
    if code == 0:
        return None
    said = (at / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    ended = f"it was killed by signal {-code}" if code < 0 else f"exit code {code}"
    return "; ".join([*said[-1:], ended, f"see {at / LOG}"])


def _listen(process: "subprocess.Popen[str]", run: Run, watcher: Watcher) -> None:
    """Hand on what the process says, to its end."""
    assert process.stdout is not None
    for line in process.stdout:
        with suppress(ValueError):  # a library's own words are not for us
            event = json.loads(line)
            if isinstance(event, dict):
                watcher.tells(run, event)
