"""Training events per second: every position of a history in one pass, against one sample per prefix.

    python benchmarks/throughput.py --json throughput.json

The same model size, window, optimiser and precision for both; histories as long as ML-1M's (log-normal, median 96,
mean 165), items drawn by Zipf's law. Steps of both forms alternate, so that the ratio survives a noisy machine. An
event is a target that was learnt from.
"""

import argparse
import json
import platform
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.training.batches import Plan, PrefixPlan, Step, TrainingSequences, WindowPlan
from grela.training.config import TrainingConfig
from grela.training.listener import Silence
from grela.training.loop import Training

ITEMS = 3_416
USERS = 6_040


@dataclass
class Form:
    """One way of training: its trainer, its steps to come, its rates so far in events per second."""

    name: str
    training: Training
    steps: list[Step]
    rates: list[float]

    def advance(self) -> None:
        """Do one step and note its rate."""
        step = self.steps.pop()
        start = time.perf_counter()
        self.training.one_step(step)
        self.rates.append(step.events / (time.perf_counter() - start))


def histories(rng: np.random.Generator) -> TrainingSequences:
    """Synthetic histories with ML-1M's number of users and items and its distribution of lengths."""
    lengths = np.clip(rng.lognormal(np.log(96), 1.04, USERS), 18, 2_300).astype(np.int64)
    weights = 1 / np.arange(1, ITEMS + 1)
    items = rng.choice(np.arange(1, ITEMS + 1), size=lengths.sum(), p=weights / weights.sum())
    end = np.cumsum(lengths)
    return TrainingSequences(items.astype(np.int32), end - lengths, end)


def form(name: str, sequences: TrainingSequences, config: TrainingConfig, *, steps: int) -> Form:
    """A trainer of the default model in one form, and its first steps of an epoch."""
    rng = torch.Generator().manual_seed(config.seed)
    model = RecGRELA(RecGRELAConfig(num_items=ITEMS, form=name), rng=rng)
    kind = WindowPlan if name == "causal" else PrefixPlan
    plan: Plan = kind(sequences, config.window, config.batch_positions, config.seed)
    training = Training(model, plan, config, folder=None, validate=None, listener=Silence())
    first = [step for step, _ in zip(plan.epoch(0), range(steps), strict=False)]
    return Form(name, training, first, [])


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, default=12, help="steps of each form, after one that does not count"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    config = TrainingConfig(precision=arguments.precision)
    sequences = histories(np.random.default_rng(0))
    forms = [form(name, sequences, config, steps=arguments.steps + 1) for name in ("causal", "bidirectional")]
    for _ in range(arguments.steps + 1):
        for one in forms:
            one.advance()
    medians = {one.name: statistics.median(one.rates[1:]) for one in forms}
    result = {
        "events_per_second": medians,
        "ratio": medians["causal"] / medians["bidirectional"],
        "batch_positions": config.batch_positions,
        "window": config.window,
        "precision": str(forms[0].training.dtype),
        "threads": arguments.threads,
        "steps": arguments.steps,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    for name, rate in medians.items():
        print(f"{name:14} {rate:>10,.0f} events/s")
    print(f"ratio          {result['ratio']:>10,.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
