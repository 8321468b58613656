"""A first-order Markov chain over items: what followed the last event elsewhere, smoothed by popularity.

    P(j | i) = (c_ij + d_i p_j) / (c_i + d_i)

c_ij counts how often j directly followed i in training, c_i all that followed i, d_i how many different items did, and
p_j is j's share of the training events: the smoothing of Witten and Bell (IEEE Transactions on Information Theory,
1991, method C). Where nothing ever followed i, or there is no history, P is p.
"""

from dataclasses import dataclass

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split, train_item_counts
from grela.evaluation.training_events import pieces, places, training_histories

# B histories in a batch, N items of the catalogue, D different transitions


@dataclass(frozen=True, eq=False)
class MarkovChain:
    """A `Scorer` whose score is P(j | the last item).

    first: int64 [N+2]; what followed item i is at `first[i]:first[i + 1]` of the next two
    following, counts: int32 [D] and int64 [D], items and how often each
    popularity: float64 [N+1], p; entry 0 is padding
    """

    first: np.ndarray
    following: np.ndarray
    counts: np.ndarray
    popularity: np.ndarray

    @classmethod
    def fit(cls, split: Split) -> "MarkovChain":
        """Count the transitions of each user's training events; memory grows with the different ones."""
        size = split.histories.num_items + 1
        pairs, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for piece in pieces(training_histories(split)):
            more, times = np.unique(_transitions(piece, size), return_counts=True)
            pairs, where = np.unique(np.concatenate((pairs, more)), return_inverse=True)
            counts = np.bincount(where, np.concatenate((counts, times))).astype(np.int64)
        first = np.searchsorted(pairs, np.arange(size + 1) * size)
        events = train_item_counts(split)
        return cls(first, (pairs % size).astype(np.int32), counts, events / events.sum())

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.popularity) - 1

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float64 [B, N]; each row sums to 1."""
        scores_BN = np.tile(self.popularity[1:], (len(batch), 1))
        for b in np.flatnonzero(batch.lengths):
            last = batch.items[batch.end[b] - 1]
            after = slice(self.first[last], self.first[last + 1])
            counts, kinds = self.counts[after], len(self.counts[after])
            if kinds:
                scores_BN[b] *= kinds
                scores_BN[b, self.following[after] - 1] += counts
                scores_BN[b] /= counts.sum() + kinds
        return scores_BN


def _transitions(piece: HistoryBatch, size: int) -> np.ndarray:
    """Each pair of neighbouring events of a history as one int64: the first item times `size`, plus the second."""
    at = places(piece)
    follows = np.ones(len(at), bool)
    lengths = piece.lengths
    begins = (np.cumsum(lengths) - lengths)[lengths > 0]
    follows[begins] = False
    after = at[follows]
    pairs: np.ndarray = piece.items[after - 1].astype(np.int64) * size + piece.items[after]
    return pairs
