"""The rank of every target among the whole catalogue. Ties count against the model."""

from dataclasses import dataclass

import numpy as np

# C cases, T targets of all cases together, M distinct targets of one case, N items of the catalogue

TIE_RULE = (
    "ties count against the model: a target ranks behind every other candidate that is no target "
    "and has the same score; tied targets of one user take consecutive ranks"
)


@dataclass(frozen=True, eq=False)
class Ranks:
    """The 1-based ranks of every case's distinct targets, best first within a case.

    values:  float64 [T]; inf: the target is no candidate (already seen, in the filtered view), so a miss
             in every metric (inf <= k is false, 1 / inf is 0)
    offsets: int64 [C+1]; case c's ranks are `values[offsets[c]:offsets[c + 1]]`, at least one
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, c: int) -> np.ndarray:
        """The ranks of case c's targets, ascending."""
        return self.values[self.offsets[c] : self.offsets[c + 1]]

    @property
    def targets(self) -> np.ndarray:
        """Distinct targets per case, int64 [C]."""
        return np.diff(self.offsets)

    @property
    def best(self) -> np.ndarray:
        """The rank of each case's best target, float64 [C]."""
        best: np.ndarray = self.values[self.offsets[:-1]]
        return best

    def sums(self, per_target: np.ndarray) -> np.ndarray:
        """The sum over each case's targets, [T] to float64 [C]."""
        sums: np.ndarray = np.add.reduceat(per_target, self.offsets[:-1], dtype=np.float64)
        return sums

    @staticmethod
    def of(per_case: list[np.ndarray]) -> "Ranks":
        """From one ascending array of ranks per case, each with at least one rank."""
        offsets = np.concatenate([[0], np.cumsum([len(ranks) for ranks in per_case])]).astype(np.int64)
        return Ranks(np.concatenate(per_case).astype(np.float64), offsets)


def rank_targets(
    scores_N: np.ndarray, targets_M: np.ndarray, seen_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One user's ranks (unfiltered, filtered), each float64 [M], ascending.

    `targets_M` are distinct item ids, 1..N; `seen_N` is True for items of the history, item 1 first.
    Unfiltered, all items are candidates. Filtered, seen items are none, and a seen target has rank inf. The
    filtered rank is the unfiltered one less the seen items in front, so one pass over the scores gives both.
    """
    target_scores = scores_N[targets_M - 1]
    best_first = np.argsort(-target_scores, kind="stable")
    target_scores = target_scores[best_first]
    reaching = np.array([np.count_nonzero(scores_N >= score) for score in target_scores], dtype=np.int64)
    unfiltered = _behind_ties(reaching, target_scores)

    fresh = ~seen_N[targets_M - 1][best_first]
    fresh_scores = target_scores[fresh]
    reaching_unseen = reaching[fresh] - _reaching(fresh_scores, scores_N[seen_N])
    filtered = np.full(len(targets_M), np.inf)
    # Fresh targets are best first, so filling from the front leaves the array ascending.
    filtered[: len(fresh_scores)] = _behind_ties(reaching_unseen, fresh_scores)
    return unfiltered, filtered


def _behind_ties(reaching: np.ndarray, target_scores: np.ndarray) -> np.ndarray:
    """Ranks of targets, best first, from the number of candidates (targets too) that reach each one's score."""
    others = reaching - _reaching(target_scores, target_scores)
    ranks: np.ndarray = (others + np.arange(1, len(target_scores) + 1)).astype(np.float64)
    return ranks


def _reaching(thresholds: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How many of `scores` are at least each threshold."""
    below: np.ndarray = np.searchsorted(np.sort(scores), thresholds, side="left")
    return len(scores) - below
