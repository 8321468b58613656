"""The events on the device, and a step's tensors made there from where its windows lie: nothing waits for the host.

A step's shapes are those of every full step, however many windows it has, so that a CUDA graph can hold it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grela.training.sequences import TrainingSequences
from grela.training.windows import PackedRow, PackedStep, WindowPlan

# R rows of a step, C positions of a row, S windows of an epoch


class StepTensors(NamedTuple):
    """The rows of a full step, int64 [R, C] each, as in `PackedRow`."""

    items: Tensor
    targets: Tensor
    segments: Tensor
    positions: Tensor


@dataclass(frozen=True, eq=False)
class ResidentStep:
    """A step by its number within the epoch; its rows are made on the host only if asked for."""

    plan: WindowPlan
    epoch: int
    number: int
    events: int
    full: bool

    @cached_property
    def packed(self) -> PackedStep:
        """The same step, made on the host."""
        return next(self.plan.epoch(self.epoch, skip=self.number))

    @property
    def rows(self) -> list[PackedRow]:
        """As of every step."""
        return self.packed.rows


class ResidentWindows:
    """A `WindowPlan` with the same steps in the same order, whose full ones are made on `device`.

    Holds the events, and the windows of one epoch at a time: `tensors` gives steps of the epoch last begun.
    """

    def __init__(self, plan: WindowPlan, device: torch.device) -> None:
        self.plan = plan
        self.capacity = plan.batch_positions // plan.rows
        lengths = np.maximum(plan.sequences.end - plan.sequences.start - 1, 0)
        self.positions = int(lengths.sum())
        rows = -(-self.positions // self.capacity)
        # A history's first window may be short, so that it has one more; and each row's end may cut one.
        most_windows = int((-(-lengths // plan.window) + 1).sum()) + rows
        self.history = torch.from_numpy(plan.sequences.items).to(device)
        self.start = torch.zeros(most_windows, dtype=torch.int64, device=device)
        self.length = torch.zeros_like(self.start)
        self.bounds = torch.zeros(rows + 1, dtype=torch.int64, device=device)

    @property
    def sequences(self) -> TrainingSequences:
        """What is trained on."""
        return self.plan.sequences

    @property
    def rows(self) -> int:
        """Rows of a full step."""
        return self.plan.rows

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""
        return self.plan.steps(epoch)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[ResidentStep]:
        """The epoch's steps from number `skip` on; brings its windows to the device."""
        self._begin(epoch)
        size = self.capacity * self.plan.rows
        for number in range(skip, self.plan.steps(epoch)):
            events = min(size, self.positions - number * size)
            yield ResidentStep(self.plan, epoch, number, events, events == size)

    def tensors(self, number: Tensor) -> StepTensors:
        """The full step of the epoch that `number`, an int64 scalar on the device, says."""
        device = number.device
        row_R1 = (number * self.plan.rows + torch.arange(self.plan.rows, device=device)).unsqueeze(1)
        place_RC = torch.arange(self.capacity, device=device).expand(self.plan.rows, -1)
        # A window has at least one position, so a row has at most C windows.
        window_RC = self.bounds[row_R1] + place_RC
        there_RC = window_RC < self.bounds[row_R1 + 1]
        window_RC = window_RC.clamp(max=len(self.start) - 1)
        start_RC, length_RC = self.start[window_RC], self.length[window_RC] * there_RC
        end_RC = length_RC.cumsum(1)
        segments = torch.searchsorted(end_RC, place_RC.contiguous(), right=True)
        positions = place_RC - (end_RC - length_RC).gather(1, segments)
        at_RC = start_RC.gather(1, segments) + positions
        return StepTensors(self.history[at_RC].long(), self.history[at_RC + 1].long(), segments, positions)

    def _begin(self, epoch: int) -> None:
        """Put the epoch's windows where `tensors` reads them, in order with what runs on the device."""
        (_, start, length), bounds = self.plan._cut(epoch)
        for kept, fresh in ((self.start, start), (self.length, length), (self.bounds, bounds)):
            kept[: len(fresh)].copy_(torch.from_numpy(np.ascontiguousarray(fresh, np.int64)))
