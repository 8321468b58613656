"""From scores to the k items that are shown: what may be shown, best first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grela.errors import RequestError
from grela.evaluation.lists import top_items

# N items

HISTORIES = 1_024


@dataclass(frozen=True, eq=False)
class Candidates:
    """What may be recommended: `allowed` bool [N] by dense item - 1, and whether seen items are left out."""

    allowed: np.ndarray
    filter_seen: bool

    @staticmethod
    def of(
        num_items: int, allow: np.ndarray | None, exclude: np.ndarray, *, filter_seen: bool
    ) -> "Candidates":
        """From dense item ids (1..N): all items or those of `allow`, less those of `exclude`."""
        allowed = np.full(num_items, allow is None)
        if allow is not None:
            allowed[allow - 1] = True
        allowed[exclude - 1] = False
        return Candidates(allowed, filter_seen)


@dataclass(frozen=True, eq=False)
class TopList:
    """Dense item ids, best first, and their scores; shorter than k where fewer may be recommended."""

    items: np.ndarray
    scores: np.ndarray


def top_list(scores_N: np.ndarray, seen: np.ndarray, candidates: Candidates, k: int) -> TopList:
    """The k best by scores [N]; ties go to the smaller dense id.

    seen: the dense items that are left out where `candidates` filter them.
    """
    shown = candidates.allowed
    if candidates.filter_seen:
        shown = shown.copy()
        shown[seen - 1] = False
    places = np.flatnonzero(shown)
    chosen = places[top_items(scores_N[places], k) - 1]
    return TopList(chosen + 1, scores_N[chosen])


def must_be_positive(k: int) -> int:
    """k; RequestError below 1."""
    if k < 1:
        raise RequestError(f"k is {k}, expected at least 1")
    return k


def blocks(total: int, *, size: int = HISTORIES) -> Sequence[slice]:
    """Slices of at most `size` of `total` histories."""
    return [slice(low, min(low + size, total)) for low in range(0, total, size)]
