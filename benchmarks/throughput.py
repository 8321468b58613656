"""Training events per second: every position of a history in one pass, against one sample per prefix.

    python benchmarks/throughput.py --json throughput.json

The same model size, window, positions a step, optimiser and precision for all three ways:

    one pass          causal, histories packed: `grela fit`
    prefixes          bidirectional, one sample per prefix, samples packed: `--form bidirectional`
    padded prefixes   the same by PyTorch's operators, every sample padded to the window, as the reference does

Histories as long as ML-1M's (log-normal, median 96, mean 165), items drawn by Zipf's law. Steps of the three ways
alternate, so that the ratios survive a noisy machine, and each is a fair draw of an epoch's. An event is a target that
was learnt from; a rate is all events by all time.
"""

import argparse
import json
import platform
import resource
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from library import (
    Plan,
    PrefixPlan,
    PrefixStep,
    RecGRELA,
    RecGRELAConfig,
    Silence,
    Step,
    Training,
    TrainingConfig,
    TrainingSequences,
    WindowPlan,
)
from synthetic import ML_1M_ITEMS, gaps, histories
from torch.nn.functional import pad

POSITIONS = 6_400


@dataclass
class Way:
    """One way of training: its trainer, its steps to come, the events and seconds of those done."""

    name: str
    training: Training
    steps: list[Step]
    events: int = 0
    seconds: float = 0.0

    def advance(self) -> None:
        """Do one step and note what it took."""
        step = self.steps.pop()
        start = time.perf_counter()
        self.training.one_step(step)
        self.seconds += time.perf_counter() - start
        self.events += step.events

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds


def one_pass(sequences: TrainingSequences, config: TrainingConfig, count: int) -> Way:
    """Every position of a history in one pass."""
    plan = WindowPlan(sequences, config.window, config.batch_positions, config.seed)
    return Way("one pass", trainer("causal", plan, config), drawn(plan, count))


def prefixes(sequences: TrainingSequences, config: TrainingConfig, count: int) -> Way:
    """One sample per prefix, one after the other without padding."""
    plan = PrefixPlan(sequences, config.window, config.batch_positions, config.seed)
    return Way("prefixes", trainer("bidirectional", plan, config), drawn(plan, count))


def padded_prefixes(sequences: TrainingSequences, config: TrainingConfig, count: int) -> Way:
    """One sample per prefix, drawn evenly, each padded to the window."""
    plan = PrefixPlan(sequences, config.window, config.batch_positions, config.seed)
    rng = np.random.default_rng(config.seed)
    first = np.repeat(sequences.start, sequences.end - sequences.start)
    targets = np.flatnonzero(np.arange(len(first)) > first)
    steps: list[Step] = []
    for _ in range(count + 1):
        at = rng.choice(targets, config.batch_positions // config.window, replace=False)
        start = np.maximum(first[at], at - config.window)
        step = PrefixStep(sequences, first[at], start, at - start)
        step.items = pad(step.items, (0, config.window - step.items.shape[1]))
        steps.append(step)
    return Way("padded prefixes", trainer("bidirectional", plan, replace(config, kernels="torch")), steps)


def trainer(form: str, plan: Plan, config: TrainingConfig) -> Training:
    """A trainer of the default model in one form."""
    rng = torch.Generator().manual_seed(config.seed)
    model = RecGRELA(RecGRELAConfig(num_items=ML_1M_ITEMS, form=form), rng=rng)
    return Training(model, plan, config, folder=None, validate=None, listener=Silence())


def drawn(plan: Plan, count: int) -> list[Step]:
    """The first `count` steps of an epoch and one to warm up; plans shuffle, so each is a fair draw."""
    return list(islice(plan.epoch(0), count + 1))


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=60, help="steps of each way")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    config = TrainingConfig(precision=arguments.precision, batch_positions=POSITIONS)
    flat = histories(0)
    sequences = TrainingSequences(*flat, gaps(1, len(flat[0])))
    ways = [make(sequences, config, arguments.steps) for make in (one_pass, prefixes, padded_prefixes)]
    for way in ways:
        way.training.one_step(way.steps.pop())
    for _ in range(arguments.steps):
        for way in ways:
            way.advance()
    fast = ways[0]
    result = {
        "events_per_second": {way.name: way.rate for way in ways},
        "one pass against": {way.name: fast.rate / way.rate for way in ways[1:]},
        "batch_positions": config.batch_positions,
        "window": config.window,
        "precision": str(fast.training.dtype),
        "threads": arguments.threads,
        "steps": arguments.steps,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    for way in ways:
        print(f"{way.name:16} {way.rate:>10,.0f} events/s   1/{fast.rate / way.rate:,.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
