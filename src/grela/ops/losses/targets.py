"""What a loss is asked for at each position: the item to find, and what its user has met before."""

from dataclasses import dataclass

from torch import Tensor

# P positions, E events of a log


@dataclass(frozen=True, eq=False)
class SeenItems:
    """Position p has seen the items `history[start[p]:end[p]]`: history int32 [E], start and end int64 [P]."""

    history: Tensor
    start: Tensor
    end: Tensor


@dataclass(frozen=True, eq=False)
class Targets:
    """The items to find, int64 [P] in 1..N, and where a loss may ask for it what each position has seen."""

    items: Tensor
    seen: SeenItems | None = None
