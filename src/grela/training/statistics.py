"""What a model takes from the training events before it learns: where its bias starts, and what divides its gaps."""

import math

import numpy as np

from grela.ops.gaps import BUCKETS
from grela.training.losses import event_counts
from grela.training.sequences import TrainingSequences

# E events trained on


def repeat_log_odds(sequences: TrainingSequences, num_items: int) -> float:
    """The logarithm of repeats observed to repeats expected, half a repeat added to both.

    Observed are targets that their history already holds; expected is the probability that training's popularity
    gives to what the history holds, summed over targets. A bias of that size on items met makes a softmax by
    popularity right about how often people repeat: strongly negative where nobody ever does.
    """
    counts = event_counts(sequences, num_items)
    share = np.append(0, counts / max(1, counts.sum()))
    observed, expected = 0, 0.0
    for start, end in zip(sequences.start.tolist(), sequences.end.tolist(), strict=True):
        items = sequences.items[start:end]
        first = np.unique(items, return_index=True)[1]
        observed += len(items) - len(first)
        # An item met first at place t may be met again at the places after it.
        expected += float((share[items[first]] * (len(items) - 1 - first)).sum())
    return math.log((observed + 0.5) / (expected + 0.5))


def gap_counts(sequences: TrainingSequences) -> np.ndarray:
    """How many of the events trained on have a gap of each bucket, int64 [BUCKETS]; all 0 without gaps."""
    counts = np.zeros(BUCKETS, np.int64)
    if sequences.gaps is not None:
        for start, end in zip(sequences.start.tolist(), sequences.end.tolist(), strict=True):
            counts += np.bincount(sequences.gaps[start + 1 : end], minlength=BUCKETS)
    return counts
