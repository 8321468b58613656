"""Causal training: histories are cut into windows and packed one after the other, without padding.

Every position predicts the next item.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from grela.ops.losses.targets import AfterNext, SeenItems
from grela.training.sequences import TrainingSequences

# S windows, P positions of a row

ROWS = 4
LEAST_POSITIONS = 512


@dataclass(frozen=True, eq=False)
class PackedRow:
    """P positions of several windows, one after the other, each with the item that follows it.

    items, segments, positions and gaps [1, P] are the model's input; targets [P] and next_gaps [P] tell what follows
    and when; `seen` what each position's user has met up to it, from the beginning of the history on; `after` what
    follows the targets.
    """

    items: Tensor
    targets: Tensor
    segments: Tensor
    positions: Tensor
    seen: SeenItems
    gaps: Tensor | None
    next_gaps: Tensor | None
    after: AfterNext

    @classmethod
    def cut(
        cls, sequences: TrainingSequences, begin: np.ndarray, start: np.ndarray, length: np.ndarray
    ) -> "PackedRow":
        """Windows of `length` events from `start` on, of histories that begin at `begin`."""
        first = np.cumsum(length) - length
        within = np.arange(length.sum()) - np.repeat(first, length)
        at, begins = np.repeat(start, length) + within, np.repeat(begin, length)
        return cls(
            items=sequences.items_at(at).unsqueeze(0),
            targets=sequences.items_at(at + 1),
            segments=torch.from_numpy(np.repeat(np.arange(len(length)), length)).unsqueeze(0),
            positions=torch.from_numpy(within).unsqueeze(0),
            seen=SeenItems(
                torch.from_numpy(sequences.items),
                torch.from_numpy(begins),
                torch.from_numpy(at + 1),
            ),
            gaps=None if (gaps := sequences.gaps_at(at)) is None else gaps.unsqueeze(0),
            next_gaps=sequences.gaps_at(at + 1),
            after=sequences.after(begins, at + 1),
        )

    @classmethod
    def joined(cls, rows: Sequence["PackedRow"]) -> "PackedRow":
        """The windows of several rows of one plan as one row."""
        counts = torch.tensor([0, *(int(row.segments[0, -1]) + 1 for row in rows[:-1])]).cumsum(0)
        return cls(
            items=torch.cat([row.items for row in rows], 1),
            targets=torch.cat([row.targets for row in rows]),
            segments=torch.cat([row.segments + before for row, before in zip(rows, counts, strict=True)], 1),
            positions=torch.cat([row.positions for row in rows], 1),
            seen=_joined_seen([row.seen for row in rows]),
            gaps=_joined([row.gaps for row in rows]),
            next_gaps=_joined([row.next_gaps for row in rows]),
            after=_joined_after(rows),
        )

    @property
    def events(self) -> int:
        """Targets in this row."""
        return len(self.targets)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """The parts one after the other along their last dimension; None where there are none."""
    there = [part for part in parts if part is not None]
    return torch.cat(there, -1) if there else None


def _joined_seen(parts: list[SeenItems]) -> SeenItems:
    return SeenItems(
        parts[0].history, torch.cat([seen.start for seen in parts]), torch.cat([seen.end for seen in parts])
    )


def _joined_after(rows: Sequence[PackedRow]) -> AfterNext:
    before = np.cumsum([0, *(row.events for row in rows[:-1])]).tolist()
    return AfterNext(
        torch.cat([row.after.places + events for row, events in zip(rows, before, strict=True)]),
        torch.cat([row.after.items for row in rows]),
        _joined_seen([row.after.seen for row in rows]),
    )


@dataclass(frozen=True, eq=False)
class PackedStep:
    """One causal step."""

    rows: list[PackedRow]

    @property
    def events(self) -> int:
        """Targets in this step."""
        return sum(row.events for row in self.rows)


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Causal steps in which every event but each history's first is a target once an epoch.

    A step has up to `most_rows` rows of equal size, which can be computed side by side. All rows but the epoch's
    last are full: a window that does not fit is cut in two. Steps of one size let the allocator use the same
    memory again and again; sizes that vary would spread it.
    """

    sequences: TrainingSequences
    window: int
    batch_positions: int
    seed: int
    most_rows: int = ROWS

    def steps(self, epoch: int) -> int:
        """How many steps the epoch has."""
        return -(-(len(self._cut(epoch)[1]) - 1) // self.rows)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[PackedStep]:
        """The epoch's steps from number `skip` on."""
        (begin, start, length), bounds = self._cut(epoch)
        spans = [slice(low, high) for low, high in pairwise(bounds.tolist())]
        for at in range(skip * self.rows, len(spans), self.rows):
            part = spans[at : at + self.rows]
            yield PackedStep([PackedRow.cut(self.sequences, begin[s], start[s], length[s]) for s in part])

    @property
    def rows(self) -> int:
        """Rows of a step: a row holds a whole window and enough positions to be worth a thread."""
        return max(1, min(self.most_rows, self.batch_positions // max(self.window, LEAST_POSITIONS)))

    def _cut(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Windows in their order as rows (their history's beginning, start, length) [3, S]; bounds of the rows."""
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
        windows = np.stack((start[user], low, high))[:, order]
        return filled(windows, self.batch_positions // self.rows)


def filled(windows: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut windows (beginning, low, high) [3, S] of at most `capacity` where rows of `capacity` end.

    Returns (beginning, low, length) of the pieces [3, S'] and the bounds of the rows among them.
    """
    begin, low, high = windows
    ends = np.cumsum(high - low)
    begins = ends - (high - low)
    cut = ends // capacity * capacity
    crossing = np.flatnonzero((begins < cut) & (cut < ends))
    middle = low[crossing] + (cut - begins)[crossing]
    low, high = np.insert(low, crossing + 1, middle), np.insert(high, crossing, middle)
    begin = np.insert(begin, crossing, begin[crossing])
    total = int(ends[-1]) if len(ends) else 0
    full = np.append(np.arange(0, total, capacity), total)
    return np.stack((begin, low, high - low)), np.searchsorted(np.append(0, np.cumsum(high - low)), full)
