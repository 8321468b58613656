"""Made-up runs of the suite, and git in a folder."""

import subprocess
from pathlib import Path

from cases import Case
from comparison import THIS, case_record

BASE = Case(form="causal", device="cpu", threads=2)


def run_of(
    rate: float, peak: int = 500_000_000, others: float | None = 0.0, epochs: int = 1
) -> dict[str, float | None]:
    run = {"events_per_second": rate, "peak_bytes": peak, "others": others}
    return run | {"steps": 7, "whole_epochs": epochs}


def saved_run(rates: dict[Case, list[float]], *, commit: str = "abc") -> dict:
    """As `train.py --json` writes it."""
    return {
        "benchmark": "train",
        "format": 1,
        "date": "2025-06-01T12:00:00+00:00",
        "machine": {"processor": "Abacus", "cores": 2, "gpu": None},
        "commits": {THIS: {"hash": commit, "changed": False, "torch": "2.0"}},
        "cases": [
            case_record(case, {THIS: [run_of(r) for r in of_case]}, {}) for case, of_case in rates.items()
        ],
    }


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
