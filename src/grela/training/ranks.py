"""Processes that train together ("ranks"): each computes some rows of every step, and all take the same step.

What one process does alone and what several do together is here one set of questions. `Alone` answers them at once;
`grela.training.torchrun.Torchrun` asks the other processes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from grela.training.checkpoint import Checkpoint

T = TypeVar("T")

# R rows of a step


class Gradient(NamedTuple):
    """What a row's gradient looks like, for a rank that has none of its own."""

    shape: torch.Size
    sparse: bool


class RowResult(NamedTuple):
    """A row's part of a step's loss, and its part of each gradient."""

    loss: float
    gradients: Sequence[Tensor]


class Ranks(Protocol):
    """The processes that train one model. What is returned is the same on all of them, save from `mine` and `part`."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes and tells."""

    @property
    def together(self) -> bool:
        """Whether a launcher started this process as one of one or more ranks."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def device(self) -> torch.device | None:
        """Where this rank computes, if its place among the others decides that."""

    def mine(self, rows: Sequence[T]) -> list[tuple[int, T]]:
        """The rows [R] of a step that this rank computes, with their numbers."""

    def part(self, count: int) -> slice:
        """Of `count` things this rank's, one after the other."""

    def step(
        self, mine: Sequence[RowResult], gradients: Sequence[Gradient], rows: int
    ) -> tuple[float, list[Tensor]]:
        """The loss and the gradients of a step of R = `rows`, each the sum over its rows in their order."""

    def agreed(self, wish: bool) -> bool:
        """What rank 0 wishes."""

    def from_first(self, value: T) -> T:
        """What rank 0 says, a value of JSON's types."""

    def all_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Each rank's float64 arrays, one after the other; rank 0's names count, a rank without values gives none."""

    def all_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of all ranks, which name different ones."""

    def shared(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """Rank 0's checkpoint."""

    def must_agree(self, facts: Mapping[str, Any]) -> None:
        """Raise RanksError, naming what differs, unless all ranks give the same facts of JSON's types."""


class Alone:
    """One process, which was started as any other: what training is unless a launcher divides it."""

    first, together, size, device = True, False, 1, None

    def mine(self, rows: Sequence[T]) -> list[tuple[int, T]]:
        """All."""
        return list(enumerate(rows))

    def part(self, count: int) -> slice:
        """All."""
        return slice(0, count)

    def step(
        self, mine: Sequence[RowResult], gradients: Sequence[Gradient], rows: int
    ) -> tuple[float, list[Tensor]]:
        """The sums; the first row's memory holds those of the gradients."""
        parts = zip(*(row.gradients for row in mine), strict=True)
        return sum(row.loss for row in mine), [total(list(part)) for part in parts]

    def agreed(self, wish: bool) -> bool:
        """The wish."""
        return wish

    def from_first(self, value: T) -> T:
        """The value."""
        return value

    def all_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The values."""
        return dict(values)

    def all_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors."""
        return dict(tensors)

    def shared(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """The checkpoint."""
        return checkpoint

    def must_agree(self, facts: Mapping[str, Any]) -> None:
        """Nobody could disagree."""


ALONE = Alone()


def total(gradients: list[Tensor]) -> Tensor:
    """The sum in the order of the list; the first gradient's memory holds it. Sparse ones are put end to end."""
    first, *others = gradients
    if first.is_sparse:
        indices = torch.cat([g._indices() for g in gradients], 1)
        return torch.sparse_coo_tensor(
            indices, torch.cat([g._values() for g in gradients]), first.shape, check_invariants=False
        )
    for other in others:
        first += other
    return first


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """The sum of the tensors' words, read as integers: where a bit differs, so nearly surely does this."""
    return sum(
        int(tensor.detach().contiguous().reshape(-1).view(torch.int32).sum(dtype=torch.int64))
        if tensor.element_size() >= 4
        else int(tensor.sum(dtype=torch.int64))
        for tensor in tensors.values()
    )
