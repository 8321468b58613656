"""From training sequences to optimiser steps: which events meet in which step, decided by (seed, epoch) alone.

Causal: histories are cut into windows and packed one after the other into a row, without padding; every
position predicts the next item. Bidirectional: one sample per prefix, gathered from the flat events when
its step comes, so that prefixes are never materialised; samples of like length share a step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

# U users, S spans, P positions of a step, B samples, T positions of the longest sample


@dataclass(frozen=True, eq=False)
class TrainingSequences:
    """What may be trained on: user u's events are `items[start[u]:end[u]]`, dense item ids int32."""

    items: np.ndarray
    start: np.ndarray
    end: np.ndarray


class PackedStep:
    """One causal step: P positions of several windows in one row, each with the item that follows it."""

    def __init__(self, items: np.ndarray, start: np.ndarray, length: np.ndarray) -> None:
        first = np.cumsum(length) - length
        within = np.arange(length.sum()) - np.repeat(first, length)
        at = np.repeat(start, length) + within
        self.items = torch.from_numpy(items[at].astype(np.int64)).unsqueeze(0)
        self.targets = torch.from_numpy(items[at + 1].astype(np.int64))
        self.segments = torch.from_numpy(np.repeat(np.arange(len(length)), length)).unsqueeze(0)
        self.positions = torch.from_numpy(within).unsqueeze(0)

    @property
    def events(self) -> int:
        """Targets in this step."""
        return len(self.targets)


class PrefixStep:
    """One bidirectional step: B prefixes [B, T], padded on the right, each with the item that follows it."""

    def __init__(self, items: np.ndarray, start: np.ndarray, length: np.ndarray) -> None:
        at = np.minimum(start[:, None] + np.arange(length.max()), (start + length)[:, None])
        inside = np.arange(length.max()) < length[:, None]
        self.items: Tensor = torch.from_numpy(np.where(inside, items[at], 0).astype(np.int64))
        self.targets = torch.from_numpy(items[start + length].astype(np.int64))
        self.lengths = torch.from_numpy(length)

    @property
    def events(self) -> int:
        """Targets in this step."""
        return len(self.targets)


Step = PackedStep | PrefixStep


class Plan(Protocol):
    """The steps of each epoch, the same for the same (seed, epoch) on every machine."""

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Step]:
        """The epoch's steps from number `skip` on."""


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Causal steps in which every event but each history's first is a target once an epoch.

    All steps but the epoch's last have exactly `batch_positions`: a window that does not fit is cut in two.
    Steps of one size let the allocator use the same memory again and again; sizes that vary would spread it.
    """

    sequences: TrainingSequences
    window: int
    batch_positions: int
    seed: int

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""
        return len(self._cut(epoch)[2]) - 1

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[PackedStep]:
        """The epoch's steps from number `skip` on."""
        start, length, bounds = self._cut(epoch)
        for low, high in zip(bounds[skip:-1], bounds[skip + 1 :], strict=True):
            yield PackedStep(self.sequences.items, start[low:high], length[low:high])

    def _cut(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Starts [S] and lengths [S] of the windows in their order, and the bounds of the steps among them."""
        rng = np.random.default_rng([self.seed, epoch])
        start, end = self.sequences.start, self.sequences.end - 1  # the last event is a target only
        start, end = start[end > start], end[end > start]
        # Where a history is longer than the window, its first piece is 1..window long, the next ones are whole.
        first = np.where(end - start > self.window, rng.integers(1, self.window + 1, len(start)), self.window)
        pieces = 1 + np.maximum(0, -(-(end - start - first) // self.window))
        user = np.repeat(np.arange(len(start)), pieces)
        piece = np.arange(len(user)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        low = np.maximum(start[user], start[user] + first[user] + (piece - 1) * self.window)
        high = np.minimum(end[user], start[user] + first[user] + piece * self.window)
        order = rng.permutation(len(low))
        return _filled(low[order], high[order], self.batch_positions)


@dataclass(frozen=True, eq=False)
class PrefixPlan:
    """Bidirectional steps: every event but each history's first is the target of one sample, as in the paper.

    A sample's history is the at most `window` events before its target. Samples are shuffled, sorted by
    length within pools of 64 steps so that little is padded, and the steps shuffled again.
    """

    sequences: TrainingSequences
    window: int
    batch_positions: int
    seed: int

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""
        return len(self._arrange(epoch)[1])

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[PrefixStep]:
        """The epoch's steps from number `skip` on."""
        target, steps, first = self._arrange(epoch)
        for low, high in steps[skip:]:
            at = target[low:high]
            start = np.maximum(first[low:high], at - self.window)
            yield PrefixStep(self.sequences.items, start, at - start)

    def _arrange(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Target places [S] in their order, (low, high) of each step, and where each sample's user starts [S]."""
        rng = np.random.default_rng([self.seed, epoch])
        counts = np.maximum(0, self.sequences.end - self.sequences.start - 1)
        first = np.repeat(self.sequences.start, counts)
        target = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = rng.permutation(len(target))
        length = np.minimum(target - first, self.window)
        pool = 64 * max(1, self.batch_positions // self.window)
        for low in range(0, len(order), pool):
            part = order[low : low + pool]
            order[low : low + pool] = part[np.argsort(length[part], kind="stable")]
        bounds = padded_bounds(length[order], self.batch_positions)
        steps = np.stack((bounds[:-1], bounds[1:]), 1)
        return target[order], steps[rng.permutation(len(steps))], first[order]


def _filled(low: np.ndarray, high: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows low..high, none above the capacity, cut where steps of `capacity` end: starts, lengths, bounds."""
    ends = np.cumsum(high - low)
    begins = ends - (high - low)
    cut = ends // capacity * capacity
    crossing = np.flatnonzero((begins < cut) & (cut < ends))
    middle = low[crossing] + (cut - begins)[crossing]
    low, high = np.insert(low, crossing + 1, middle), np.insert(high, crossing, middle)
    total = int(ends[-1]) if len(ends) else 0
    full = np.append(np.arange(0, total, capacity), total)
    return low, high - low, np.searchsorted(np.append(0, np.cumsum(high - low)), full)


def greedy_bounds(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Bounds that cut `lengths` into runs of a sum of at most `capacity`, each as long as can be.

    A single length above the capacity makes a run of its own.
    """
    ends = np.cumsum(lengths)
    bounds = [0]
    while bounds[-1] < len(lengths):
        used = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends, used + capacity, side="right"))))
    return np.array(bounds)


def padded_bounds(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Bounds that cut `lengths` into runs of count x longest of at most `capacity`, each as long as can be."""
    bounds, longest = [0], 0
    for i, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if i > bounds[-1] and (i + 1 - bounds[-1]) * longest > capacity:
            bounds.append(i)
            longest = length
    return np.array([*bounds, len(lengths)] if len(lengths) else bounds)
