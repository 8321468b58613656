"""What is trained on, and the plan that says which events meet in which step: decided by (seed, epoch) alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class TrainingSequences:
    """What may be trained on: user u's events are `items[start[u]:end[u]]`, dense item ids int32."""

    items: np.ndarray
    start: np.ndarray
    end: np.ndarray


class Row(Protocol):
    """A part of a step that can be computed by itself."""

    @property
    def events(self) -> int:
        """Targets in this row."""


class Step(Protocol):
    """One optimiser step: the mean over the targets of all its rows."""

    @property
    def rows(self) -> Sequence[Row]:
        """Independent parts; their gradients are added in this order."""

    @property
    def events(self) -> int:
        """Targets in this step."""


class Plan(Protocol):
    """The steps of each epoch, the same for the same (seed, epoch) on every machine."""

    @property
    def sequences(self) -> TrainingSequences:
        """What is trained on."""

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Step]:
        """The epoch's steps from number `skip` on."""
