"""One run of a comparison, in a process of its own: a model that fails takes no other along, and memory is its own.

    python -m grela.comparison.worker TASK

TASK is a JSON object of the arguments of `main`. Progress is told in JSON lines on the output stream, and what was
found is left in the run's folder. A trial is validated, and never measured on the test events.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from grela.comparison.contestants import Floor, contestant
from grela.comparison.folder import read_settings, read_split, run_path, trial_path, write_result, write_trial
from grela.comparison.measuring import measured, tried
from grela.comparison.tuning import changed
from grela.training.json_lines import JsonLines


def main(
    *,
    folder: Path,
    model: str,
    seed: int,
    threads: int,
    device: str,
    changes: Mapping[str, float],
    trial: int | None,
) -> None:
    """Measure one model with one seed, or try settings."""
    torch.set_num_threads(threads)
    settings = read_settings(folder)
    split = read_split(folder, settings)
    chosen = contestant(model)
    if not isinstance(chosen, Floor):
        chosen = changed(chosen, changes)
    listener, where = JsonLines(sys.stdout), torch.device(device)
    if trial is not None:
        assert not isinstance(chosen, Floor)
        at = trial_path(folder, model, trial)
        record = tried(chosen, split, settings.budget, where, seed=seed, folder=at, listener=listener)
        write_trial(at, {"model": model, "trial": trial, "changes": dict(changes), **record})
        return
    at = run_path(folder, model, seed)
    found = measured(chosen, split, settings.budget, where, seed=seed, folder=at, listener=listener)
    record = {"model": model, "seed": seed, "tuned": dict(changes), **found.record}
    write_result(at, record, found.evaluation)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(**given | {"folder": Path(given["folder"])})
