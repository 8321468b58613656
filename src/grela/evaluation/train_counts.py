"""Events per item in training: the measure of popularity."""

import numpy as np

from grela.data.histories import HistoryBatch
from grela.errors import ConfigError


def count_events(histories: HistoryBatch, num_items: int) -> np.ndarray:
    """Events of each item in the given histories, int64 [N+1]; entry 0 is padding and stays 0."""
    counts = np.zeros(num_items + 1, np.int64)
    for b in range(len(histories)):
        np.add.at(counts, histories[b], 1)
    return counts


def checked_train_counts(counts: np.ndarray, num_items: int) -> np.ndarray:
    """`counts` as they are; `ConfigError` unless int [N+1], not negative, 0 for padding, not all 0."""
    if counts.shape != (num_items + 1,) or not np.issubdtype(counts.dtype, np.integer):
        raise ConfigError(
            f"train_counts are {counts.dtype} of shape {counts.shape}, expected integers of shape "
            f"({num_items + 1},): one count per item, after an entry 0 for padding"
        )
    if counts.min() < 0 or counts[0] != 0:
        raise ConfigError(
            f"train_counts start with {counts[0]} and have a minimum of {counts.min()}, expected 0 for "
            "padding and no negative count; count with numpy.bincount(items, minlength=num_items + 1)"
        )
    if not counts.any():
        raise ConfigError("train_counts are all 0, expected the events of the training set")
    return counts
