"""Bidirectional training: one sample per prefix, gathered from the flat events when its step comes.

So prefixes are never materialised, and a step holds as many as fit, one after the other without padding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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

    items and gaps [P], and `packing`, made of lengths [B] when asked for, are the model's input; targets [B] the
    next items; `seen` what each prefix's user has met up to it, from the beginning of the history on; `after` what
    follows the targets.
    """

    def __init__(
        self, sequences: TrainingSequences, begin: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> None:
        end = np.cumsum(length)
        at = np.repeat(start - (end - length), length) + np.arange(end[-1])
        self.items: Tensor = sequences.items_at(at)
        self.gaps = sequences.gaps_at(at)
        self.next_gaps = sequences.gaps_at(start + length)
        self.after = sequences.after(begin, start + length)
        self.lengths = torch.from_numpy(length)
        self.targets = sequences.items_at(start + length)
        self.seen = SeenItems(
            torch.from_numpy(sequences.items), torch.from_numpy(begin), torch.from_numpy(start + length)
        )

    @classmethod
    def joined(cls, rows: Sequence["PrefixRow"], sequences: TrainingSequences) -> "PrefixRow":
        """The prefixes of several rows, one row after the other, as one row."""
        begin = np.concatenate([row.seen.start.numpy() for row in rows])
        target = np.concatenate([row.seen.end.numpy() for row in rows])
        length = np.concatenate([row.lengths.numpy() for row in rows])
        return cls(sequences, begin, target - length, length)

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

    def __init__(
        self, sequences: TrainingSequences, begin: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> None:
        at = np.minimum(start[:, None] + np.arange(length.max()), (start + length)[:, None])
        inside = np.arange(length.max()) < length[:, None]
        self.items: Tensor = sequences.items_at(at) * torch.from_numpy(inside)
        self.gaps = sequences.gaps_at(at)
        self.next_gaps = sequences.gaps_at(start + length)
        self.after = sequences.after(begin, start + length)
        self.targets = sequences.items_at(start + length)
        self.lengths = torch.from_numpy(length)
        self.seen = SeenItems(
            torch.from_numpy(sequences.items), torch.from_numpy(begin), torch.from_numpy(start + length)
        )

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
    each step is a fair draw of the epoch's samples, of at most `batch_positions` positions. It has up to
    `most_rows` rows of about equal size, which can be computed side by side.
    """

    sequences: TrainingSequences
    window: int
    batch_positions: int
    seed: int
    most_rows: int = ROWS
    _counted: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has. Only the shuffled lengths tell, so it is remembered."""
        if epoch not in self._counted:
            self._counted[epoch] = len(self._shuffled(epoch)[2]) - 1
        return self._counted[epoch]

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[PackedPrefixes]:
        """The epoch's steps from number `skip` on."""
        order, length, bounds = self._shuffled(epoch)
        begin = np.repeat(self.sequences.start, self._counts)[order]
        target = begin + 1 + self._before[order]
        for low, high in zip(bounds[skip:-1].tolist(), bounds[skip + 1 :].tolist(), strict=True):
            parts = [low + part for part in dealt(length[low:high], self.rows)]
            yield PackedPrefixes(
                [PrefixRow(self.sequences, begin[p], target[p] - length[p], length[p]) for p in parts]
            )

    @property
    def rows(self) -> int:
        """Rows of a step with samples enough."""
        return max(1, min(self.most_rows, self.batch_positions // max(self.window, LEAST_POSITIONS)))

    @property
    def _counts(self) -> np.ndarray:
        """Samples of each history."""
        counts: np.ndarray = np.maximum(0, self.sequences.end - self.sequences.start - 1)
        return counts

    @property
    def _before(self) -> np.ndarray:
        """How many samples of its history come before each sample, [S] in the order of the log."""
        counts = self._counts
        first = np.cumsum(counts) - counts
        before: np.ndarray = np.arange(counts.sum()) - np.repeat(first, counts)
        return before

    def _shuffled(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The epoch's order of the samples [S], their lengths in it, and the bounds of the steps."""
        length = np.minimum(self._before + 1, self.window)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(length))
        length = length[order]
        return order, length, greedy_bounds(length, self.batch_positions)


def dealt(length: np.ndarray, rows: int) -> list[np.ndarray]:
    """Which of the lengths each row gets, of about equal sums: from long to short, to and fro. No row is empty."""
    by_length = np.argsort(-length, kind="stable")
    turn = np.arange(len(length)) % (2 * rows)
    row = np.minimum(turn, 2 * rows - 1 - turn)
    return [by_length[row == r] for r in range(min(rows, len(length)))]
