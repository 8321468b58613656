"""A small log, and a watcher that remembers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from grela.comparison.budget import Budget
from grela.comparison.contest import Run, compare
from grela.data.events import read_events


def small_log(seed: int = 0, users: int = 40) -> pd.DataFrame:
    """Histories that count upwards through 30 items, now and then leaping."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        leaps = rng.random(rng.integers(6, 25)) < 0.2
        items = (rng.integers(30) + np.cumsum(1 + leaps * rng.integers(0, 9, len(leaps)))) % 30
        rows += [(f"u{user}", f"i{item}", 100 * place) for place, item in enumerate(items)]
    return pd.DataFrame(rows, columns=["user", "item", "time"])


class Memory:
    """What a watcher heard, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []

    def begins(self, run: Run, number: int, of: int) -> None:
        self.heard.append(("begins", str(run)))

    def tells(self, run: Run, event: dict[str, Any]) -> None:
        self.events.append(event)

    def ends(self, run: Run, record: dict[str, Any]) -> None:
        self.heard.append(("ends", str(run)))

    def fails(self, run: Run, why: str) -> None:
        self.heard.append(("fails", f"{run}: {why}"))


def compared(
    out: Path, models: list[str], *, seeds=(0,), log=None, budget=None, watcher=None, device="cpu"
) -> dict[str, Any]:
    return compare(
        read_events(small_log() if log is None else log),
        models=models,
        seeds=seeds,
        budget=budget or Budget(epochs=1),
        out=out,
        threads=1,
        device=torch.device(device),
        watcher=watcher or Memory(),
    )
