"""Where sampled losses draw their negatives: with replacement, from a distribution Q known exactly."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

# N items, K draws


class Negatives(Protocol):
    """A distribution Q over items 1..N."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """K = `count` items, int64 [K] on the generator's device, independent of one another."""

    def log_probability(self, items: Tensor) -> Tensor:
        """log Q of items, in their shape, float64."""


@dataclass(frozen=True)
class Uniform:
    """Q(i) = 1 / N."""

    num_items: int

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """See `Negatives`; O(1) a draw."""
        return torch.randint(1, self.num_items + 1, (count,), generator=rng, device=rng.device)

    def log_probability(self, items: Tensor) -> Tensor:
        """See `Negatives`."""
        return torch.full(items.shape, -math.log(self.num_items), dtype=torch.float64, device=items.device)


@dataclass(frozen=True, eq=False)
class ByFrequency:
    """Q(i) proportional to (count of i + 1) ** power; the 1 keeps items never seen in training within reach.

    cumulative: float64 [N+1] from 0 to 1, 8 bytes an item; item i owns the stretch from i - 1 to i, whose
    length is therefore exactly its probability. O(log N) a draw.
    """

    cumulative: Tensor

    @staticmethod
    def of(counts: np.ndarray, power: float, device: torch.device) -> "ByFrequency":
        """From the training events of items 1..N, int [N]."""
        cumulative = np.zeros(len(counts) + 1)
        np.cumsum((counts + 1.0) ** power, out=cumulative[1:])
        cumulative /= cumulative[-1]
        return ByFrequency(torch.from_numpy(cumulative).to(device))

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """See `Negatives`."""
        at = torch.rand(count, generator=rng, device=rng.device, dtype=torch.float64)
        return torch.searchsorted(self.cumulative, at, right=True)

    def log_probability(self, items: Tensor) -> Tensor:
        """See `Negatives`."""
        return (self.cumulative[items] - self.cumulative[items - 1]).log()
