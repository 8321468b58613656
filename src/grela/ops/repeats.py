"""What a repeat-aware softmax knows of the items a history holds: how often each occurred, and how long ago.

Counts and ages fall into buckets half an octave wide: 1; 2; 3; 4-5; 6-7; 8-11; 12-15; ... An age is counted in
events: that of the last event is 1. No number falls into bucket 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from grela.ops.losses.targets import RepeatBias, SeenItems, Targets, seen_of

# P positions, R pairs of a position and an item that it has met, N items

COUNTS = 16
AGES = 48


class Met(NamedTuple):
    """Each position's met items, once each, int64 [R]: the position, the item, and the buckets of count and age."""

    position: Tensor
    item: Tensor
    counts: Tensor
    ages: Tensor

    def to(self, device: torch.device) -> "Met":
        """The same on `device`."""
        return Met(*(column.to(device) for column in self))

    def bias(self, bias: RepeatBias) -> Tensor:
        """What each pair's score is raised by, [R]."""
        return bias.by_count[self.counts] + bias.by_age[self.ages]


def half_octave(x: Tensor, buckets: int) -> Tensor:
    """floor(2 log2 x), exactly, of whole numbers x from 1 to 2^30, or the last bucket: int64 in 0..buckets - 1."""
    octave = torch.frexp(x.double()).exponent.long() - 1
    return (2 * octave + (x * x >= 2 << 2 * octave)).clamp(max=buckets - 1)


def naive_bias(targets: Targets, position: int, items: Tensor) -> Tensor:
    """The definition: what the scores of some items [n] are raised by at one position, by both biases."""
    of_items = torch.zeros(len(items), device=items.device)
    if targets.item_bias is not None:
        of_items = targets.item_bias[items, 0]
    if targets.bias is None or not len(items):
        return of_items
    seen = seen_of(targets)
    history = seen.history[int(seen.start[position]) : int(seen.end[position])].tolist()
    places, counts, ages = [], [], []
    for place, item in enumerate(items.tolist()):
        if item in history:
            places.append(place)
            counts.append(history.count(item))
            ages.append(1 + history[::-1].index(item))
    count, age = (torch.tensor(numbers, dtype=torch.int64) for numbers in (counts, ages))
    by_count = targets.bias.by_count[half_octave(count, COUNTS)]
    of_met = by_count + targets.bias.by_age[half_octave(age, AGES)]
    at = torch.tensor(places, dtype=torch.int64, device=items.device)
    return of_items + of_met.new_zeros(len(items)).index_put((at,), of_met)


def met_before(seen: SeenItems, first: int, last: int, num_items: int) -> Met:
    """What positions first..last-1 have met; positions count from `first`."""
    pieces = list(seen.pieces(first, last)) or [(first, last)]  # without positions there are no pieces
    parts = [_met(seen, low, high, num_items) for low, high in pieces]
    for part, (low, _) in zip(parts, pieces, strict=True):
        part.position.add_(low - first)
    return Met(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _met(seen: SeenItems, first: int, last: int, num_items: int) -> Met:
    position, item = seen.pairs(first, last)
    length = (seen.end - seen.start)[first:last]
    within = torch.arange(len(position), device=position.device) - (length.cumsum(0) - length)[position]
    key, inverse, count = torch.unique(
        position * (num_items + 1) + item, return_inverse=True, return_counts=True
    )
    latest = torch.zeros_like(key).scatter_reduce(0, inverse, within, "amax")
    position, item = key // (num_items + 1), key % (num_items + 1)
    age = length[position] - latest
    return Met(position, item, half_octave(count, COUNTS), half_octave(age, AGES))
