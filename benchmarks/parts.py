"""What each part that the default model adds to the paper's costs in training, on the CPU.

    python benchmarks/parts.py --steps 40

Steps of the default size over made-up histories as long as ML-1M's, in which nobody meets an item twice. All models
take their steps in turn in one process; printed is the median CPU time of an event, and its ratio to the paper's.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from synthetic import ML_1M_ITEMS, gaps, histories

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.training.config import TrainingConfig
from grela.training.listener import Silence
from grela.training.loop import Training
from grela.training.sequences import TrainingSequences
from grela.training.windows import WindowPlan

PAPER: dict[str, Any] = {
    "gaps": False,
    "repeats": False,
    "item_bias": False,
    "next_gaps": 0,
    "after_next": 0.0,
}
MODELS: dict[str, dict[str, Any]] = {
    "the paper's layers": PAPER,
    "+ gaps": PAPER | {"gaps": True},
    "+ repeats": PAPER | {"repeats": True},
    "+ item bias": PAPER | {"item_bias": True},
    "+ next gaps": PAPER | {"next_gaps": 4},
    "+ after next": PAPER | {"after_next": 0.3},
    "default: all five": {},
    "default, decaying state": {"decay": True},
}


def sequences() -> TrainingSequences:
    """Histories in which every item is new."""
    items, start, end = histories(0)
    rng = np.random.default_rng(0)
    for low, high in zip(start.tolist(), end.tolist(), strict=True):
        items[low:high] = 1 + rng.permutation(ML_1M_ITEMS)[: high - low]
    return TrainingSequences(items, start, end, gaps(1, len(items)))


def trainer(parts: dict[str, Any], made_up: TrainingSequences, events: int) -> Training:
    """A trainer of one model."""
    config = TrainingConfig().sized_for(events, form="causal")
    plan = WindowPlan(made_up, config.window, config.batch_positions, config.seed)
    model = RecGRELA(RecGRELAConfig(num_items=ML_1M_ITEMS, **parts), rng=torch.Generator().manual_seed(0))
    return Training(model, plan, config, folder=None, validate=None, listener=Silence())


def main() -> None:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40, help="steps of each model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    made_up = sequences()
    trainings = {name: trainer(parts, made_up, len(made_up.items)) for name, parts in MODELS.items()}
    steps = {name: training.plan.epoch(0) for name, training in trainings.items()}
    taken: dict[str, list[float]] = {name: [] for name in MODELS}
    for turn in range(arguments.steps + 1):
        for name, training in trainings.items():
            step = next(steps[name])
            before = time.process_time()
            training.one_step(step)
            if turn:  # the first step finds nothing in the caches
                taken[name].append((time.process_time() - before) / step.events * 1e6)
    found = {name: median(times) for name, times in taken.items()}
    base = found["the paper's layers"]
    for name, microseconds in found.items():
        print(f"{name:26} {microseconds:6.2f} us an event  {microseconds / base:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
