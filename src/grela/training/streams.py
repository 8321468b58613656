"""Causal training with the state carried from step to step: truncated back-propagation through time.

Whole histories lie one after the other in a few streams, and each step reads the next piece of every stream.
A history that is cut goes on in the next step from the state it had reached, so each position is computed from
everything before it, in memory that does not grow with the history. Gradients reach back to the step's border
only (Williams and Peng, "An efficient gradient-based algorithm for on-line training", Neural Computation 2, 1990).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from heapq import heapreplace

import numpy as np
import torch
from torch import Tensor

from grela.ops.losses.targets import AfterNext, SeenItems
from grela.training.sequences import TrainingSequences
from grela.training.windows import LEAST_POSITIONS, ROWS, PackedRow

# H histories with a target, P positions of a row


@dataclass(frozen=True, eq=False)
class StreamRow:
    """The next P positions of one stream; tensors as in a `PackedRow`, but positions count from the history's first.

    continues:  the first segment goes on where the same row of the step before ended
    unfinished: the last segment goes on in the same row of the step after
    """

    items: Tensor
    segments: Tensor
    positions: Tensor
    targets: Tensor
    seen: SeenItems
    gaps: Tensor | None
    next_gaps: Tensor | None
    after: AfterNext
    continues: bool
    unfinished: bool

    @property
    def events(self) -> int:
        """Targets in this row."""
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class StreamStep:
    """Row r is of stream r; the longest stream comes first, so that those that have run out are missing at the end."""

    rows: list[StreamRow]

    @property
    def events(self) -> int:
        """Targets in this step."""
        return sum(row.events for row in self.rows)


@dataclass(frozen=True, eq=False)
class Stream:
    """Whole histories one after the other: history h begins at event begin[h] and at place bounds[h] of the stream.

    begin [H]; bounds [H + 1], from 0 to the stream's length. A place is a position with a target.
    """

    begin: np.ndarray
    bounds: np.ndarray

    def row(self, sequences: TrainingSequences, low: int, high: int) -> StreamRow:
        """Places low..high-1, fewer where the stream ends before; `low` lies in the stream."""
        high = min(high, int(self.bounds[-1]))
        first = int(np.searchsorted(self.bounds, low, side="right")) - 1
        last = int(np.searchsorted(self.bounds, high, side="left"))
        begin, bounds = self.begin[first:last], self.bounds[first : last + 1]
        passed = np.maximum(low - bounds[:-1], 0)
        length = np.minimum(bounds[1:], high) - bounds[:-1] - passed
        packed = PackedRow.cut(sequences, begin, begin + passed, length)
        return StreamRow(
            packed.items,
            packed.segments,
            packed.positions + torch.from_numpy(np.repeat(passed, length)),
            packed.targets,
            packed.seen,
            packed.gaps,
            packed.next_gaps,
            packed.after,
            continues=bool(passed[0] > 0),
            unfinished=bool(bounds[-1] > high),
        )


@dataclass(frozen=True, eq=False)
class StreamPlan:
    """Causal steps in which every event but each history's first is a target once an epoch, after all before it.

    A step holds the next `batch_positions` positions, in equal parts from up to `most_rows` streams; a part is at
    least `window` long. Streams are nearly equal, but a history is never in two of them: one that is longer
    than its share of all events runs on alone. Which histories of equal length are in which stream, and the
    order in each, are drawn anew each epoch.
    """

    sequences: TrainingSequences
    window: int
    batch_positions: int
    seed: int
    most_rows: int = ROWS

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has; the same in every epoch."""
        return self._steps

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[StreamStep]:
        """The epoch's steps from number `skip` on."""
        streams = self._streams(epoch)
        for low in range(skip * self.positions, self._steps * self.positions, self.positions):
            going = [stream for stream in streams if stream.bounds[-1] > low]
            yield StreamStep([s.row(self.sequences, low, low + self.positions) for s in going])

    @property
    def positions(self) -> int:
        """Positions of a row."""
        return self.batch_positions // self.rows

    @property
    def rows(self) -> int:
        """Streams, and rows of a step until the first has run out."""
        return max(1, min(self.most_rows, self.batch_positions // max(self.window, LEAST_POSITIONS)))

    @cached_property
    def _steps(self) -> int:
        longest = int(self._streams(0)[0].bounds[-1])
        return -(-longest // self.positions)

    @cached_property
    def _dealt(self) -> np.ndarray:
        """The stream [H] of the longest history, of the second longest, and so on."""
        return dealt(np.sort(self._histories[1])[::-1], self.rows)

    @cached_property
    def _histories(self) -> tuple[np.ndarray, np.ndarray]:
        """First event and positions [H] of each history with a target; its last event is a target only."""
        start, length = self.sequences.start, self.sequences.end - 1 - self.sequences.start
        return start[length > 0], length[length > 0]

    def _streams(self, epoch: int) -> list[Stream]:
        """The epoch's streams, the longest first."""
        rng = np.random.default_rng([self.seed, epoch])
        begin, length = self._histories
        shuffled = rng.permutation(len(length))
        by_length = shuffled[np.argsort(-length[shuffled], kind="stable")]
        orders = [rng.permutation(by_length[self._dealt == stream]) for stream in range(self.rows)]
        streams = [Stream(begin[order], np.append(0, np.cumsum(length[order]))) for order in orders]
        return sorted(streams, key=lambda stream: -int(stream.bounds[-1]))


def dealt(lengths: np.ndarray, streams: int) -> np.ndarray:
    """The stream [H] of each history, lengths [H] falling: each goes to the stream that is shortest so far.

    The longest stream is at most 4/3 of what it could be (Graham, "Bounds on multiprocessing timing
    anomalies", 1969).
    """
    shortest = [(0, stream) for stream in range(streams)]
    chosen = np.empty(len(lengths), np.int64)
    for history, length in enumerate(lengths.tolist()):
        so_far, stream = shortest[0]
        chosen[history] = stream
        heapreplace(shortest, (so_far + length, stream))
    return chosen
