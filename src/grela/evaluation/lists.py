"""The k items that would be shown to a user."""

import numpy as np

# N items of the catalogue


def top_items(scores_N: np.ndarray, k: int) -> np.ndarray:
    """The ids (1..N) of the k highest scores, best first; of tied items the smaller id comes first.

    Shorter than k where the catalogue is. Ranks, and so all metrics of accuracy, never depend on this order.
    """
    k = min(k, len(scores_N))
    if k == 0:
        return np.zeros(0, np.int64)
    threshold = np.partition(scores_N, len(scores_N) - k)[len(scores_N) - k]
    above = np.flatnonzero(scores_N > threshold)
    tied = np.flatnonzero(scores_N == threshold)[: k - len(above)]
    chosen = np.concatenate([above, tied])
    items: np.ndarray = chosen[np.argsort(-scores_N[chosen], kind="stable")] + 1
    return items


def top_unseen_items(scores_N: np.ndarray, seen_N: np.ndarray, k: int) -> np.ndarray:
    """As `top_items`, among the items that are not True in `seen_N`."""
    unseen = np.flatnonzero(~seen_N)
    items: np.ndarray = unseen[top_items(scores_N[unseen], k) - 1] + 1
    return items
