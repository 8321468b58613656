"""Bidirectional training: one sample per prefix, gathered from the flat events when its step comes.

So prefixes are never materialised, and samples of like length share a step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grela.training.bounds import padded_bounds
from grela.training.sequences import TrainingSequences

# B samples, T positions of the longest sample, S samples of an epoch


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

    @property
    def rows(self) -> list["PrefixStep"]:
        """The step is one row."""
        return [self]


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
