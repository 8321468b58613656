"""Run by test_carried: the process's peak memory in bytes after each of three trainings on one long history."""

import re
from pathlib import Path

import numpy as np
import torch
from training_cases import Ear

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.training.config import TrainingConfig
from grela.training.loop import Training
from grela.training.sequences import TrainingSequences
from grela.training.streams import StreamPlan
from grela.training.windows import WindowPlan


def peak_after(events: int, make_plan: type[StreamPlan | WindowPlan], window: int) -> int:
    """Train one epoch on one history."""
    items = np.random.default_rng(0).integers(1, 51, events).astype(np.int32)
    gaps = np.ones(events, np.uint8)
    sequences = TrainingSequences(items, np.array([0]), np.array([events]), gaps)
    # Not `repeats`: what a position has met grows with its history, whatever the state does.
    shape = RecGRELAConfig(num_items=50, width=16, heads=2, layers=2, repeats=False)
    Training(
        RecGRELA(shape, rng=torch.Generator().manual_seed(0)),
        make_plan(sequences, window, window, 0),
        TrainingConfig(epochs=1, window=window, batch_positions=window, precision="fp32"),
        folder=None,
        validate=None,
        listener=Ear(),
    ).run()
    # Not getrusage: its peak begins with that of the process which started this one.
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) * 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    for events, make_plan, window in (
        (5_000, StreamPlan, 2048),
        (100_000, StreamPlan, 2048),
        (60_000, WindowPlan, 60_000),
    ):
        print(peak_after(events, make_plan, window), flush=True)
