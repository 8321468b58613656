"""Item-based nearest neighbours over the whole history by cosine (Deshpande and Karypis, ACM TOIS 2004).

    sim(i, j) = n_ij / (sqrt(n_i n_j) + shrinkage)
    score_j   = sum over the different items i of the history among whose K most similar items is j of sim(i, j)

n_i counts the users with i in their training events, n_ij those with both. Shrinkage makes little of what few users
tell. Items that are nobody's neighbour stand behind all others, by popularity.
"""

from dataclasses import dataclass

import numpy as np

from grela.data.histories import HistoryBatch
from grela.data.splitting import Split, train_item_counts
from grela.errors import ConfigError
from grela.evaluation.lists import top_items
from grela.evaluation.training_events import different_items, laid_end_to_end, pieces, places

# B histories in a batch, E events, U users, N items of the catalogue, K neighbours


@dataclass(frozen=True, eq=False)
class ItemKNN:
    """A `Scorer` by the K most similar items of each.

    neighbours: int32 [N+1, K], most similar first, 0 where there are fewer; similarities: float32 [N+1, K]
    behind: float64 [N+1], at most 0: the score of what is nobody's neighbour
    """

    neighbours: np.ndarray
    similarities: np.ndarray
    behind: np.ndarray

    @classmethod
    def fit(cls, split: Split, *, neighbours: int = 100, shrinkage: float = 10.0) -> "ItemKNN":
        """Compare all items, one with all others at a time: memory is O(E + N K), time the sum of squared histories.

        Of equally similar items the one with the smaller id is the nearer neighbour.
        """
        if neighbours < 1 or not shrinkage >= 0:
            raise ConfigError(
                f"neighbours is {neighbours} and shrinkage {shrinkage}, expected at least 1 and at least 0"
            )
        by_user = different_items(split)
        by_item = _transposed(by_user, split.histories.num_items)
        nearest = np.zeros((len(by_item), neighbours), np.int32)
        similarities = np.zeros((len(by_item), neighbours), np.float32)
        users = by_item.lengths
        for item in np.flatnonzero(users).tolist():
            others, together = _counted(by_user.take(by_item[item]), len(by_item))
            others, together = others[others != item], together[others != item]
            similarity = together / (np.sqrt(users[item] * users[others]) + shrinkage)
            best = top_items(similarity, neighbours) - 1
            nearest[item, : len(best)] = others[best]
            similarities[item, : len(best)] = similarity[best]
        counts = train_item_counts(split)
        return cls(nearest, similarities, counts / counts.max() - 1)

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return len(self.behind) - 1

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float64 [B, N]."""
        scores_BN = np.tile(self.behind[1:], (len(batch), 1))
        for b in range(len(batch)):
            met = np.unique(batch[b])
            weights = self.similarities[met].ravel()
            found = np.bincount(self.neighbours[met].ravel(), weights, minlength=len(self.behind))[1:]
            np.copyto(scores_BN[b], found, where=found > 0)
        return scores_BN


def _transposed(by_user: HistoryBatch, num_items: int) -> HistoryBatch:
    """Of each item, 0 to N, the users who have it, in ascending order."""
    users = np.repeat(np.arange(len(by_user), dtype=np.int32), by_user.lengths)
    order = np.argsort(by_user.items, kind="stable")
    return laid_end_to_end(users[order], np.bincount(by_user.items, minlength=num_items + 1))


def _counted(histories: HistoryBatch, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The items, less than `size`, that occur in the histories, ascending, and how often each does."""
    if histories.lengths.sum() < size // 8:
        # Most items are rare: an array of all items for each would take most of the time.
        return np.unique(histories.items[places(histories)], return_counts=True)
    counts = np.zeros(size, np.int64)
    for piece in pieces(histories):
        counts += np.bincount(piece.items[places(piece)], minlength=size)
    items = np.flatnonzero(counts)
    return items, counts[items]
