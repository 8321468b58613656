"""What a change to the defaults is worth: validation NDCG@10 of recipes and seeds, epoch by epoch; never the test.

    python benchmarks/ideas.py ratings.csv --recipes defaults,without-gaps --seeds 0,1 --out ideas.jsonl

A recipe is `defaults`, a name of `grela.recipes`, or a TOML file of settings. Every run adds a line to --out, and runs
whose line is there are not made again: the same command goes on where it was interrupted, within a run too.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from grela.cli.source import open_events
from grela.configuration import Config, read_config
from grela.data.preparation import prepare
from grela.data.splitting import Split
from grela.fitting import must_be_trainable, sized, train
from grela.recipes import recipe
from grela.training.checkpoint import remove_checkpoints
from grela.training.listener import EpochReport, Silence
from grela.training.loop import METRICS, selected_by

DEFAULTS = "defaults"
TASK = ("events", "recipe", "seed", "epochs")


class Told(Silence):
    """Prints each epoch, and counts the processor's time."""

    def __init__(self, name: str) -> None:
        self.name = name

    def epoch(self, report: EpochReport) -> None:
        """One line."""
        found = " ".join(f"{name} {value:.4f}" for name, value in report.metrics.items() if "ndcg" in name)
        print(f"{self.name} epoch {report.epoch} loss {report.loss:.4f} {found}", flush=True)


def configured(name: str, seed: int, epochs: int | None) -> Config:
    """The settings of a task."""
    config = Config()
    if name.endswith(".toml"):
        config = read_config(Path(name))
    elif name != DEFAULTS:
        config = recipe(name)
    training = replace(config.training, seed=seed, epochs=epochs or config.training.epochs)
    return replace(config, training=training)


def measured(split: Split, config: Config, folder: Path, name: str) -> dict[str, Any]:
    """Train once; the validation figures of all epochs, and CPU seconds of those trained by this process."""
    folder.mkdir(parents=True, exist_ok=True)
    config = sized(config, split)
    must_be_trainable(split, config)
    before = time.process_time()
    model, epochs = train(split, config, folder=folder, listener=Told(name), device=torch.device("cpu"))
    metric = selected_by(model)
    values = [epoch["metrics"][metric] for epoch in epochs]
    return {
        "metric": metric,
        "best": max(values),
        "best_epoch": 1 + values.index(max(values)),
        "valid": values,
        "loss": [epoch["loss"] for epoch in epochs],
        "wall_seconds": [epoch["seconds"] for epoch in epochs],
        "cpu_seconds_per_epoch": (time.process_time() - before) / len(epochs),
        "batch_positions": config.training.batch_positions,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def tasks(arguments: argparse.Namespace, done: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What is still to be run, seed by seed."""
    finished = {tuple(line[key] for key in TASK) for line in done}
    for seed in arguments.seeds.split(","):
        for name in arguments.recipes.split(","):
            epochs = configured(name, int(seed), arguments.epochs).training.epochs
            task = dict(zip(TASK, (Path(arguments.events).name, name, int(seed), epochs), strict=True))
            if tuple(task.values()) not in finished:
                yield task


def commit() -> str:
    """What is checked out, with "+" where files differ from it."""
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return run.stdout.strip() or "unknown"


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events", help="a file of events, or a name of `grela data list`")
    parser.add_argument("--recipes", default=DEFAULTS)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    for column in ("user", "item", "time", "format"):
        parser.add_argument(f"--{column}")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns = {name: getattr(arguments, name) for name in ("user", "item", "time", "format")}
    events, _ = open_events(arguments.events, titles=None, **columns)
    split_of: dict[Any, Split] = {}
    out = arguments.out
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    for task in tasks(arguments, done):
        config = configured(task["recipe"], task["seed"], arguments.epochs)
        prepared_by = (config.preparation, config.split)
        if prepared_by not in split_of:
            split_of = {prepared_by: config.split.apply(prepare(events, config.preparation)[0])}
        split = split_of[prepared_by]
        name = "-".join(str(task[key]) for key in TASK).replace("/", "_")
        folder = out.parent / f"{out.name}.runs" / name
        found = measured(split, config, folder, name)
        line = {**task, "fingerprint": split.fingerprint, "commit": commit(), **found}
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        remove_checkpoints(folder)
        (folder / METRICS).unlink(missing_ok=True)
        print(f"{name} BEST {found['best']:.4f} at epoch {found['best_epoch']}", flush=True)


if __name__ == "__main__":
    main()
