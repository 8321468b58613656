"""What training tells whoever listens: a bar, a log, a test."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepReport:
    """After one optimiser step; `step` of `steps` counts from 1 within the epoch, loss in nats per event."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    events_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class EpochReport:
    """After one epoch and its validation; `seconds` of training alone, `metrics` on the validation cases."""

    epoch: int
    loss: float
    metrics: Mapping[str, float]
    seconds: float
    events_per_second: float
    best_epoch: int


class Listener(Protocol):
    """Receives reports in the order of events."""

    def step(self, report: StepReport) -> None:
        """One optimiser step is done."""

    def epoch(self, report: EpochReport) -> None:
        """One epoch and its validation are done."""

    def notice(self, message: str) -> None:
        """Something a person should know."""


class Silence:
    """The listener that hears nothing."""

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def epoch(self, report: EpochReport) -> None:
        """Nothing."""

    def notice(self, message: str) -> None:
        """Nothing."""
