"""Bidirectional training: one sample per prefix, gathered from the flat events when its step comes.

So prefixes are never materialised, and a step holds as many as fit, one after the other without padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from grela.ops.losses.targets import SeenItems
from grela.ops.packing import Packing, packing
from grela.training.bounds import greedy_bounds
from grela.training.sequences import TrainingSequences

# B samples, P positions of a row, T positions of the longest sample, S samples of an epoch

ROWS = 4
LEAST_POSITIONS = 2_048


class PrefixRow:
    """B prefixes one after the other in P positions, each with the item that follows it.

    items [P] and `packing`, made of lengths [B] when asked for, are the model's input; targets [B] the next items;
    `seen` what each prefix's user has met up to it, from the beginning of the history and not of the window.
    """

    def __init__(self, items: np.ndarray, begin: np.ndarray, start: np.ndarray, length: np.ndarray) -> None:
        end = np.cumsum(length)
        at = np.repeat(start - (end - length), length) + np.arange(end[-1])
        self.items: Tensor = torch.from_numpy(items[at].astype(np.int64))
        self.lengths = torch.from_numpy(length)
        self.targets = torch.from_numpy(items[start + length].astype(np.int64))
        self.seen = SeenItems(
            torch.from_numpy(items), torch.from_numpy(begin), torch.from_numpy(start + length)
        )

    @cached_property
    def packing(self) -> Packing:
        """Where each prefix lies."""
        return packing(self.lengths)

    @property
    def events(self) -> int:
        """Targets in this row."""
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class PackedPrefixes:
    """One bidirectional step."""

    rows: list[PrefixRow]

    @property
    def events(self) -> int:
        """Targets in this step."""
        return sum(row.events for row in self.rows)


class PrefixStep:
    """B prefixes [B, T] padded on the right: the plain form, which the packed one is tested and measured against."""

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

    A sample's history is the at most `window` events before its target. Samples are shuffled, whatever their length:
    each step is a fair draw of the epoch's samples, of at most `batch_positions` positions. It has up to `ROWS` rows
    of about equal size, which can be computed side by side.
    """

    sequences: TrainingSequences
    window: int
    batch_positions: int
    seed: int

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""
        return len(self._arrange(epoch)[1]) - 1

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[PackedPrefixes]:
        """The epoch's steps from number `skip` on."""
        (target, begin, length), bounds = self._arrange(epoch)
        rows = max(1, min(ROWS, self.batch_positions // max(self.window, LEAST_POSITIONS)))
        items = self.sequences.items
        for low, high in zip(bounds[skip:-1].tolist(), bounds[skip + 1 :].tolist(), strict=True):
            parts = [low + part for part in dealt(length[low:high], rows)]
            yield PackedPrefixes(
                [PrefixRow(items, begin[p], target[p] - length[p], length[p]) for p in parts]
            )

    def _arrange(self, epoch: int) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
        """Samples in their order as (target's place, history's beginning, length), each [S]; bounds of the steps."""
        rng = np.random.default_rng([self.seed, epoch])
        counts = np.maximum(0, self.sequences.end - self.sequences.start - 1)
        begin = np.repeat(self.sequences.start, counts)
        target = begin + 1 + np.arange(len(begin)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = rng.permutation(len(target))
        target, begin = target[order], begin[order]
        length = np.minimum(target - begin, self.window)
        return (target, begin, length), greedy_bounds(length, self.batch_positions)


def dealt(length: np.ndarray, rows: int) -> list[np.ndarray]:
    """Which of the lengths each row gets, of about equal sums: from long to short, to and fro. No row is empty."""
    by_length = np.argsort(-length, kind="stable")
    turn = np.arange(len(length)) % (2 * rows)
    row = np.minimum(turn, 2 * rows - 1 - turn)
    return [by_length[row == r] for r in range(min(rows, len(length)))]
