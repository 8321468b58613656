"""Metrics by length of history: what does a long history buy?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from grela.evaluation import metrics
from grela.evaluation.intervals import Interval, Ratio
from grela.evaluation.ranks import Ranks
from grela.evaluation.summary import json_intervals, json_numbers, summarise

# Shortest and longest history of each bucket, in events; None: no upper end.
BUCKETS: tuple[tuple[int, int | None], ...] = (
    (0, 0),
    (1, 20),
    (21, 50),
    (51, 100),
    (101, 200),
    (201, 500),
    (501, None),
)


@dataclass(frozen=True)
class LengthBucket:
    """The users with `low` to `high` events of history: "hr@k" and "ndcg@k" of both views, with intervals."""

    low: int
    high: int | None
    users: int
    filtered: dict[str, float]
    unfiltered: dict[str, float]
    intervals: dict[str, dict[str, Interval]]

    @property
    def label(self) -> str:
        """As "101–200" or "501+"."""
        if self.high is None:
            return f"{self.low}+"
        return str(self.low) if self.low == self.high else f"{self.low}–{self.high}"

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's own types."""
        return {
            "label": self.label,
            "low": self.low,
            "high": self.high,
            "users": self.users,
            "filtered": json_numbers(self.filtered),
            "unfiltered": json_numbers(self.unfiltered),
            "intervals": {view: json_intervals(found) for view, found in self.intervals.items()},
        }


def by_history_length(
    history_lengths: np.ndarray, filtered: Ranks, unfiltered: Ranks, *, k: int, resamples: int, seed: int
) -> tuple[LengthBucket, ...]:
    """One bucket for each range of `BUCKETS` that holds a user, shortest first."""
    found = []
    for low, high in BUCKETS:
        inside = history_lengths >= low
        if high is not None:
            inside &= history_lengths <= high
        if not inside.any():
            continue
        by_view = {
            "filtered": _statistics(filtered, inside, k),
            "unfiltered": _statistics(unfiltered, inside, k),
        }
        views = summarise(by_view, resamples=resamples, seed=seed)
        intervals = {view: summary.intervals for view, summary in views.items()}
        users = int(np.count_nonzero(inside))
        found.append(
            LengthBucket(low, high, users, views["filtered"].values, views["unfiltered"].values, intervals)
        )
    return tuple(found)


def _statistics(ranks: Ranks, inside: np.ndarray, k: int) -> dict[str, Ratio]:
    values = {f"hr@{k}": metrics.hit_rate(ranks, k), f"ndcg@{k}": metrics.ndcg(ranks, k)}
    return {name: Ratio.mean(per_user[inside]) for name, per_user in values.items()}
