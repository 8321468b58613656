"""Made-up histories that cost what real ones cost: ML-1M's lengths, items drawn by Zipf's law.

Lengths are the quantiles of a log-normal law (ML-1M: median 96, mean 165), so that even a dozen histories have its
shape, and the same events come back on every machine.
"""

from statistics import NormalDist

import numpy as np

ML_1M_ITEMS = 3_416
ML_1M_USERS = 6_040
MEDIAN = 96
SIGMA = 1.04
MEAN_OF_MEDIAN = 165 / 96
SHORTEST, LONGEST = 18 / MEDIAN, 2_300 / MEDIAN


def histories(
    seed: int, *, users: int = ML_1M_USERS, items: int = ML_1M_ITEMS, median: float = MEDIAN
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat events (int32, items 1..`items`), and where each user's begin and end [users]."""
    rng = np.random.default_rng(seed)
    normal = np.array([NormalDist().inv_cdf((i + 0.5) / users) for i in range(users)])
    lengths = np.clip(median * np.exp(SIGMA * normal), SHORTEST * median, LONGEST * median)
    lengths = np.maximum(2, rng.permutation(lengths).astype(np.int64))
    weights = 1 / np.arange(1, items + 1)
    events = rng.choice(np.arange(1, items + 1), size=lengths.sum(), p=weights / weights.sum())
    end = np.cumsum(lengths)
    return events.astype(np.int32), end - lengths, end


def gaps(seed: int, events: int) -> np.ndarray:
    """Buckets of gaps, uint8 [events]: half of the events tied, the others over some thirty buckets."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(events) < 0.5, 1, rng.integers(40, 70, events)).astype(np.uint8)
