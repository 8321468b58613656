"""What a loss is asked to predict, and the form that every loss has."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# P positions, D width, N items, E events of all histories


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

    def to(self, device: torch.device) -> "SeenItems":
        """The same on `device`."""
        return SeenItems(self.history.to(device), self.start.to(device), self.end.to(device))


@dataclass(frozen=True, eq=False)
class Targets:
    """The item that follows each position, int64 [P] in 1..N, and what was seen before it where that is known."""

    items: Tensor
    seen: SeenItems | None = None


Loss = Callable[[Tensor, Tensor, Targets, torch.Generator], Tensor]
"""The mean loss over P of hidden [P, D], weight [N+1, D] (row 0 is padding, never a candidate), targets, rng."""
