"""Cutting a list of lengths into runs of bounded cost."""

import numpy as np


def greedy_bounds(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Bounds that cut `lengths` into runs of a sum of at most `capacity`, each as long as can be.

    A single length above the capacity makes a run of its own.
    """
    ends = np.cumsum(lengths)
    bounds, used = [0], 0
    while bounds[-1] < len(lengths):
        bounds.append(max(bounds[-1] + 1, int(ends.searchsorted(used + capacity, side="right"))))
        used = ends[bounds[-1] - 1]
    return np.array(bounds)
