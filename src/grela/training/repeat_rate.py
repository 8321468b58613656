"""How much more often items are met again than popularity alone would have it: where the repeat bias starts."""

import math

import numpy as np

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
