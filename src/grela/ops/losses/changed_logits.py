"""What is added to a softmax's logits: a bias of each item; a bias of the items seen, or that they are left out."""

from typing import Protocol

import torch
from torch import Tensor

from grela.ops.losses.targets import RepeatBias, SeenItems
from grela.ops.repeats import met_before

# p positions of a block, n items of a block


class ChangedLogits(Protocol):
    """A block of positions; column 0 of logits and gradients [p, n] is item low + 1."""

    def apply(self, logits: Tensor, low: int) -> None:
        """Change the logits in place."""

    def collect(self, gradient: Tensor, low: int) -> None:
        """Add up what the logits' gradient says of the change."""


class RaisedItems:
    """Each item is raised by its bias [N]; its gradient is added to `grad` [N]."""

    def __init__(self, bias: Tensor, grad: Tensor) -> None:
        self.bias, self.grad = bias, grad

    def apply(self, logits: Tensor, low: int) -> None:
        """As of every `ChangedLogits`."""
        logits += self.bias[low : low + logits.shape[1]].to(logits)

    def collect(self, gradient: Tensor, low: int) -> None:
        """As of every `ChangedLogits`."""
        self.grad[low : low + gradient.shape[1]] += gradient.sum(0, dtype=self.grad.dtype)


class RaisedSeen:
    """Seen items are raised by `bias`; its gradients are added to `grad`."""

    def __init__(
        self, seen: SeenItems, start: int, count: int, num_items: int, bias: RepeatBias, grad: RepeatBias
    ) -> None:
        # What was seen may lie on another device, where the whole log is.
        self.met = met_before(seen, start, start + count, num_items).to(bias.by_count.device)
        self.raise_by = self.met.bias(bias)
        self.grad = grad

    def apply(self, logits: Tensor, low: int) -> None:
        """As of every `ChangedLogits`."""
        position, column, here = self._here(logits, low)
        logits[position, column] += self.raise_by[here].to(logits)

    def collect(self, gradient: Tensor, low: int) -> None:
        """As of every `ChangedLogits`."""
        position, column, here = self._here(gradient, low)
        by_pair = gradient[position, column].to(self.grad.by_count)
        self.grad.by_count.index_add_(0, self.met.counts[here], by_pair)
        self.grad.by_age.index_add_(0, self.met.ages[here], by_pair)

    def _here(self, logits: Tensor, low: int) -> tuple[Tensor, Tensor, Tensor]:
        column = self.met.item - 1 - low
        here = ((column >= 0) & (column < logits.shape[1])).nonzero().squeeze(1)
        return self.met.position[here], column[here], here


class LeftOut:
    """Seen items are no candidates, save as their position's target, [p] in 0..N-1."""

    def __init__(self, seen: SeenItems, start: int, targets: Tensor) -> None:
        self.seen, self.start, self.targets = seen, start, targets

    def apply(self, logits: Tensor, low: int) -> None:
        """As of every `ChangedLogits`."""
        for first, last in self.seen.pieces(self.start, self.start + len(self.targets)):
            # What was seen may lie on another device, where the whole log is.
            position, item = (x.to(logits.device) for x in self.seen.pairs(first, last))
            position, item = position + (first - self.start), item - 1
            out = (item != self.targets[position]) & (item >= low) & (item < low + logits.shape[1])
            logits[position[out], item[out] - low] = -torch.inf

    def collect(self, gradient: Tensor, low: int) -> None:
        """Nothing is learnt of what is no candidate."""
