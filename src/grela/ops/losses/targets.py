"""What a loss is asked to predict, and the form that every loss has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# P positions, D width, N items, E events of all histories

PAIRS = 1_000_000


@dataclass(frozen=True, eq=False)
class SeenItems:
    """What each position's user has met so far: position p has seen history[start[p]:end[p]].

    history int [E], items 1..N of all users one after the other; start, end int64 [P]. Items may repeat.
    """

    history: Tensor
    start: Tensor
    end: Tensor

    def pairs(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """(position - first, item), both int64 [sum of lengths], of positions first..last-1."""
        start, end = self.start[first:last], self.end[first:last]
        length = end - start
        position = torch.repeat_interleave(torch.arange(last - first, device=start.device), length)
        within = torch.arange(len(position), device=start.device) - (length.cumsum(0) - length)[position]
        return position, self.history[start[position] + within].long()

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Positions first..last-1 in parts of at most `PAIRS` pairs, or of one position."""
        lengths = (self.end - self.start)[first:last].tolist()
        low, count = first, 0
        for position, length in enumerate(lengths, first):
            if position > low and count + length > PAIRS:
                yield low, position
                low, count = position, 0
            count += length
        if last > low:
            yield low, last

    def to(self, device: torch.device) -> "SeenItems":
        """The same on `device`."""
        return SeenItems(self.history.to(device), self.start.to(device), self.end.to(device))


class AfterNext(NamedTuple):
    """What follows a row's targets, where training goes on.

    places: of the targets within the row, int64 [Q]
    items:  what follows them, int64 [Q]
    seen:   what the user has met before that, the target too
    """

    places: Tensor
    items: Tensor
    seen: SeenItems


class RepeatBias(NamedTuple):
    """What is added to the score of an item seen before, by its buckets of `grela.ops.repeats`."""

    by_count: Tensor
    by_age: Tensor


@dataclass(frozen=True, eq=False)
class Targets:
    """What positions predict, and what is added to scores.

    items:     the item that follows each position, int64 [P] in 1..N
    seen:      what was seen before it, where a loss asks for that
    bias:      raises the scores of seen items
    item_bias: [N+1, 1] like the item table, raises the score of each item; its gradient is sparse where the table's is
    """

    items: Tensor
    seen: SeenItems | None = None
    bias: RepeatBias | None = None
    item_bias: Tensor | None = None


def seen_of(targets: Targets) -> SeenItems:
    """What the positions have seen; raises ValueError where the targets do not say."""
    if targets.seen is None:
        raise ValueError("the targets do not say what was seen before them; this loss needs targets.seen")
    return targets.seen


Loss = Callable[[Tensor, Tensor, Targets, torch.Generator], Tensor]
"""The mean loss over P of hidden [P, D], weight [N+1, D] (row 0 is padding, never a candidate), targets, rng."""
