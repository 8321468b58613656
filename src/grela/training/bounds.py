"""Cutting a list of lengths into runs of bounded cost."""

import numpy as np


def greedy_bounds(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Bounds that cut `lengths` into runs of a sum of at most `capacity`, each as long as can be.

    A single length above the capacity makes a run of its own.
    """
    ends = np.cumsum(lengths)
    bounds = [0]
    while bounds[-1] < len(lengths):
        used = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends, used + capacity, side="right"))))
    return np.array(bounds)


def padded_bounds(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Bounds that cut `lengths` into runs of count x longest of at most `capacity`, each as long as can be."""
    bounds, longest = [0], 0
    for i, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if i > bounds[-1] and (i + 1 - bounds[-1]) * longest > capacity:
            bounds.append(i)
            longest = length
    return np.array([*bounds, len(lengths)] if len(lengths) else bounds)
