"""What the lists look like, whether they hit or not: coverage, novelty, popularity bias.

Lists are int32 [C, K] item ids, best first; 0 stands for no item, where fewer than K could be recommended.
`train_counts` is int64 [N+1], events of each item in training; entry 0 is padding.
"""

import numpy as np

from grela.data.histories import HistoryBatch
from grela.evaluation.intervals import Ratio

# C users, K length of a list, N items of the catalogue


def coverage(lists_CK: np.ndarray, num_items: int) -> float:
    """Catalogue coverage@K: the share of all N items that occur in any user's list (Ge et al. 2010)."""
    shown = np.zeros(num_items + 1, bool)
    shown[lists_CK.ravel()] = True
    return float(shown[1:].mean())


def novelty(lists_CK: np.ndarray, train_counts: np.ndarray) -> Ratio:
    """Novelty@K, mean self-information in bits (Zhou et al. 2010; Castells et al. 2011).

    A user's value is the mean over the list of -log2 p(i), p(i) = train_counts[i] / train_counts.sum(), where
    an item without an event counts as one with a single event, so that it stays finite. The mean over users,
    without those whose list is empty.
    """
    bits = -np.log2(np.maximum(train_counts, 1) / train_counts.sum())
    lengths = np.count_nonzero(lists_CK, axis=1)
    return Ratio(_list_means(lists_CK, bits), (lengths > 0).astype(np.float64))


def popularity_bias(lists_CK: np.ndarray, histories: HistoryBatch, train_counts: np.ndarray) -> Ratio:
    """Popularity lift (Abdollahpouri et al. 2020): (GAP(lists) - GAP(histories)) / GAP(histories).

    GAP, group average popularity: the mean over users of the mean training count of the items in a user's
    list, or in the history (repeated items count each time). 0: lists are as popular as histories; 1: twice
    as popular.
    Users with an empty history or list are left out.
    """
    listed = _list_means(lists_CK, train_counts)
    lived = _history_means(histories, train_counts)
    both = (lists_CK != 0).any(axis=1) & (histories.lengths > 0)
    return Ratio(np.where(both, listed - lived, 0.0), np.where(both, lived, 0.0))


def _list_means(lists_CK: np.ndarray, per_item: np.ndarray) -> np.ndarray:
    """The mean of `per_item` [N+1] over each list, float64 [C]; 0 for an empty list."""
    values = np.where(lists_CK != 0, per_item[lists_CK], 0.0)
    means: np.ndarray = values.sum(axis=1) / np.maximum(np.count_nonzero(lists_CK, axis=1), 1)
    return means


def _history_means(histories: HistoryBatch, per_item: np.ndarray) -> np.ndarray:
    """The mean of `per_item` [N+1] over each history, float64 [C]; 0 for an empty history."""
    means = np.zeros(len(histories))
    for b in np.flatnonzero(histories.lengths):
        means[b] = per_item[histories[int(b)]].mean()
    return means
