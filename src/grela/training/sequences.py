"""What is trained on, and the plan that says which events meet in which step: decided by (seed, epoch) alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from grela.data.histories import user_blocks
from grela.ops.losses.targets import AfterNext, SeenItems


@dataclass(frozen=True, eq=False)
class TrainingSequences:
    """What may be trained on: user u's events are `items[start[u]:end[u]]`, dense item ids int32.

    gaps: the bucket of each event's gap (`grela.ops.gaps`), uint8 as long as `items`, for a model that reads them
    times: of the events, int64 or float64 as long as `items`, for a model that reads those
    """

    items: np.ndarray
    start: np.ndarray
    end: np.ndarray
    gaps: np.ndarray | None = None
    times: np.ndarray | None = None

    def items_at(self, at: np.ndarray) -> Tensor:
        """The items of events [P] of the log, int64 [P]."""
        return torch.from_numpy(self.items[at].astype(np.int64))

    def gaps_at(self, at: np.ndarray) -> Tensor | None:
        """The buckets of the gaps of events [P] of the log, int64 [P]."""
        return None if self.gaps is None else torch.from_numpy(self.gaps[at].astype(np.int64))

    def after(self, begin: np.ndarray, targets: np.ndarray) -> AfterNext:
        """What follows targets that are events [P] of the log, of histories that begin at `begin` [P]."""
        places = np.flatnonzero(self._goes_on[targets])
        at = targets[places] + 1
        seen = SeenItems(torch.from_numpy(self.items), torch.from_numpy(begin[places]), torch.from_numpy(at))
        return AfterNext(torch.from_numpy(places), self.items_at(at), seen)

    def trained_on(self) -> Iterator[np.ndarray]:
        """Where the events that are trained on lie, int64, some millions at a time."""
        lengths = np.maximum(self.end - self.start, 0)
        for first, last in user_blocks(np.append(0, np.cumsum(lengths))):
            part = lengths[first:last]
            ends = np.cumsum(part)
            yield np.arange(part.sum()) + np.repeat(self.start[first:last] - (ends - part), part)

    @cached_property
    def _goes_on(self) -> np.ndarray:
        """Whether an event is followed by another that is trained on, bool as long as `items`."""
        goes_on = np.zeros(len(self.items), bool)
        for at in self.trained_on():
            goes_on[at] = True
        goes_on[self.end[self.end > self.start] - 1] = False
        return goes_on


class Row(Protocol):
    """A part of a step that can be computed by itself; tensors as the plan's model takes them."""

    @property
    def items(self) -> Tensor:
        """What the model reads."""

    @property
    def gaps(self) -> Tensor | None:
        """The bucket of each item's gap, where the model reads gaps."""

    @property
    def next_gaps(self) -> Tensor | None:
        """The bucket of each target's gap, where the model learns from it."""

    @property
    def after(self) -> AfterNext:
        """What follows the targets."""

    @property
    def targets(self) -> Tensor:
        """The item to predict at each place with a target, int64."""

    @property
    def seen(self) -> SeenItems:
        """What the user of each target has met before it."""

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

    @property
    def rows(self) -> int:
        """Rows of a full step: so many threads or ranks can share it."""

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Step]:
        """The epoch's steps from number `skip` on."""
