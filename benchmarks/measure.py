"""One case in a process of its own: `python benchmarks/measure.py '{"case": {...}, "seconds": 5}'` prints its result.

Without an argument it prints what a process finds here: library, torch, devices, and the environment that the library's
command line gives itself. Which library is measured is decided by PYTHONPATH; `train.py` starts both kinds.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from cases import Case
from library import (
    KEEP_FREED_MEMORY,
    PrefixPlan,
    RecGRELA,
    RecGRELAConfig,
    Silence,
    Step,
    Training,
    TrainingConfig,
    TrainingSequences,
    WindowPlan,
)
from synthetic import MEAN_OF_MEDIAN, MEDIAN, gaps, histories

import grela

# An epoch of a case on two cores takes some seconds; a GPU needs more to be busy for as long.
CAUSAL_EVENTS = {"cpu": 128_000, "cuda": 1_024_000}
PREFIX_POSITIONS = {"cpu": 500_000, "cuda": 8_000_000}
WARM_UP_STEPS = 2
LONGEST = 3  # times the asked seconds, in which an epoch must end or be cut short


def facts() -> dict[str, object]:
    """What this process would measure, and on what."""
    return {
        "library": grela.__file__,
        "environment": KEEP_FREED_MEMORY if sys.platform.startswith("linux") else {},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def sequences(case: Case) -> TrainingSequences:
    """Histories half of which are longer than half the window, as ML-1M's are for window 200; ML-1M's at least."""
    median = max(MEDIAN, case.window // 2)
    if case.form == "causal":
        events = CAUSAL_EVENTS[case.device]
    else:
        # Half the histories are cut to the window: a prefix is some .6 of it long.
        events = PREFIX_POSITIONS[case.device] // int(0.6 * case.window + 1)
    users = max(4, round(events / (MEAN_OF_MEDIAN * median)))
    items, start, end = histories(0, users=users, items=case.items, median=median)
    if "gaps" not in TrainingSequences.__dataclass_fields__:  # a commit before models read gaps
        return TrainingSequences(items, start, end)
    return TrainingSequences(items, start, end, gaps(1, len(items)))


def trainer(case: Case) -> Training:
    """A trainer of the default model."""
    config = TrainingConfig(window=case.window, batch_positions=case.positions, precision=case.precision)
    make_plan = WindowPlan if case.form == "causal" else PrefixPlan
    plan = make_plan(sequences(case), config.window, config.batch_positions, config.seed)
    rng = torch.Generator(case.device).manual_seed(config.seed)
    model = RecGRELA(RecGRELAConfig(num_items=case.items, form=case.form), rng=rng)
    return Training(model, plan, config, folder=None, validate=None, listener=Silence())


def measure(case: Case, seconds: float) -> dict[str, object]:
    """Train for whole epochs until `seconds` are over; an epoch that takes too long is cut short.

    The plan's own work counts. `events_per_second` is all events by all time; `others` the share of all cores that
    other processes took meanwhile, None where the system does not say.
    """
    torch.set_num_threads(case.threads)
    on_gpu = case.device == "cuda"
    training = trainer(case)
    for step in islice(endless(training), WARM_UP_STEPS):
        training.one_step(step)
    before = peak(on_gpu)
    _finish(on_gpu)
    start, others_before = time.perf_counter(), seconds_of_others()
    epochs = events = steps = 0
    elapsed = 0.0
    while elapsed < seconds:
        for step in training.plan.epoch(epochs):
            training.one_step(step)
            events, steps = events + step.events, steps + 1
            if time.perf_counter() - start > LONGEST * seconds:
                break
        else:
            epochs += 1
        _finish(on_gpu)
        elapsed = time.perf_counter() - start
    return {
        "events_per_second": events / elapsed,
        "peak_bytes": peak(on_gpu),
        "peak_bytes_after_warm_up": before,
        "events": events,
        "steps": steps,
        "whole_epochs": epochs,
        "seconds": elapsed,
        "others": share(others_before, seconds_of_others(), elapsed),
        "dtype": str(training.dtype).removeprefix("torch."),
    }


def endless(training: Training) -> Iterator[Step]:
    """The plan's steps, epoch after epoch."""
    epoch = 0
    while True:
        yield from training.plan.epoch(epoch)
        epoch += 1


def peak(on_gpu: bool) -> int:
    """The most memory so far: of the device's tensors on a GPU, else this process's resident set, imports included."""
    if on_gpu:
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def seconds_of_others() -> float | None:
    """Processor time, all cores together, that others than this process have had since the machine started."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    except FileNotFoundError:
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(ticks) for ticks in fields)
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return busy - used.ru_utime - used.ru_stime


def share(before: float | None, after: float | None, elapsed: float) -> float | None:
    """Of all cores in `elapsed` seconds, 0 to 1."""
    if before is None or after is None:
        return None
    return min(1.0, max(0.0, (after - before) / (elapsed * (os.cpu_count() or 1))))


def _finish(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(json.dumps(facts()))
    else:
        asked = json.loads(sys.argv[1])
        print(json.dumps(measure(Case(**asked["case"]), asked["seconds"])))
