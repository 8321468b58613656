"""One pass over all cases, in blocks of users: ranks and top-k lists, with and without seen items."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from grela.data.histories import Cases
from grela.errors import ConfigError, DataError, EmptyDataError, ModelError
from grela.evaluation.lists import top_items, top_unseen_items
from grela.evaluation.ranks import Ranks, rank_targets
from grela.evaluation.scorer import Scorer, checked_scores

# C cases, K length of a list, N items of the catalogue

SCORES_BYTES = 64_000_000
FLOAT64_BYTES = 8

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class View:
    """What one pass leaves of one way of ranking: ranks, and lists of item ids, int32 [C, K] (0: no item)."""

    ranks: Ranks
    lists: np.ndarray


@dataclass(frozen=True, eq=False)
class Scan:
    """Both views of the same scores, in the order of the cases."""

    filtered: View
    unfiltered: View


def scan(
    scorer: Scorer,
    cases: Cases,
    *,
    lists_k: int,
    scores_bytes: int = SCORES_BYTES,
    progress: Progress | None = None,
) -> Scan:
    """Score all cases, `scores_bytes` of scores at a time, and keep ranks and lists only.

    Nothing depends on the size of the blocks. `lists_k` 0 keeps no lists. `progress(done, total)` is called
    after each block with numbers of users.
    """
    _check(scorer, cases)
    if scores_bytes < 1:
        raise ConfigError(f"scores_bytes is {scores_bytes}, expected a positive number of bytes")
    ranks: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    lists = np.zeros((2, len(cases), lists_k), np.int32)
    for start, block in _blocks(cases, max(1, scores_bytes // (FLOAT64_BYTES * scorer.num_items))):
        scores_BN = checked_scores(scorer, block)
        batch = block.batch
        for b, scores_N in enumerate(scores_BN):
            seen_N = np.zeros(scorer.num_items, bool)
            seen_N[batch[b] - 1] = True
            for view, values in zip(
                ranks, rank_targets(scores_N, np.unique(block.targets(b)), seen_N), strict=True
            ):
                view.append(values)
            if lists_k:
                _put(lists[0, start + b], top_items(scores_N, lists_k))
                _put(lists[1, start + b], top_unseen_items(scores_N, seen_N, lists_k))
        if progress is not None:
            progress(start + len(block), len(cases))
    unfiltered, filtered = (View(Ranks.of(r), rows) for r, rows in zip(ranks, lists, strict=True))
    return Scan(filtered, unfiltered)


def _put(row: np.ndarray, items: np.ndarray) -> None:
    row[: len(items)] = items


def _blocks(cases: Cases, size: int) -> Iterator[tuple[int, Cases]]:
    for start in range(0, len(cases), size):
        yield start, cases.take(slice(start, start + size))


def _check(scorer: Scorer, cases: Cases) -> None:
    num_items = cases.histories.num_items
    if not len(cases):
        raise EmptyDataError("there are no cases to evaluate: no user has an event held out")
    if scorer.num_items != num_items:
        raise ModelError(
            f"the scorer knows {scorer.num_items} items, the catalogue of the cases has {num_items}: "
            "evaluate a model on the catalogue it was fitted to"
        )
    without = np.flatnonzero(cases.target_end <= cases.history_end)
    if without.size:
        user = cases.histories.users.decode([int(cases.users[without[0]])])[0]
        raise DataError(
            f"user {user!r} (case {without[0]}) has no target; every case needs one event or more"
        )
