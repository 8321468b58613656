"""The result of an evaluation, and the comparison of two."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from grela.errors import RequestError
from grela.evaluation import metrics
from grela.evaluation.by_length import LengthBucket
from grela.evaluation.intervals import Interval, PairedDifference, paired_difference
from grela.evaluation.ranks import TIE_RULE, Ranks
from grela.evaluation.summary import json_intervals, json_numbers

ViewName = Literal["filtered", "unfiltered"]

PROTOCOL = (
    "full ranking of the whole catalogue, no sampled negatives; filtered: items of the history are no "
    "candidates, and a target among them is a miss; unfiltered: every item is a candidate; repeated targets "
    "of a user count once; means over users"
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of one model on one set of cases, with seen items filtered and not, side by side.

    filtered, unfiltered: values by metric ("ndcg@10", "mrr", "coverage@10", ...)
    intervals: by view, then metric, (low, high): 95 % percentile bootstrap over users. None for coverage: a
        resample shows fewer lists, so its coverage says nothing of that of all users.
    by_history_length: buckets in ascending order, empty ones left out
    users, history_lengths: int64 [C], dense user ids ascending, and the events of their histories
    ranks_filtered, ranks_unfiltered: in the order of `users`
    targets, targets_already_seen: distinct targets of all users, and how many of them their history holds
    """

    filtered: dict[str, float]
    unfiltered: dict[str, float]
    intervals: dict[str, dict[str, Interval]]
    by_history_length: tuple[LengthBucket, ...]
    users: np.ndarray
    history_lengths: np.ndarray
    ranks_filtered: Ranks
    ranks_unfiltered: Ranks
    num_items: int
    targets: int
    targets_already_seen: int
    ks: tuple[int, ...]
    resamples: int
    seed: int
    tie_rule: str = TIE_RULE
    protocol: str = PROTOCOL

    def per_user(self, metric: str, view: ViewName = "filtered") -> np.ndarray:
        """One metric of accuracy for every user, float64 [C] in the order of `users`."""
        ranks = {"filtered": self.ranks_filtered, "unfiltered": self.ranks_unfiltered}
        if view not in ranks:
            raise RequestError(f"no view {view!r}; expected 'filtered' or 'unfiltered'")
        values = metrics.per_user(ranks[view], self.ks)
        if metric not in values:
            raise RequestError(f"no metric {metric!r} per user; expected one of {', '.join(values)}")
        return values[metric]

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's own types; NaN becomes None. Ranks per user are left out."""
        return {
            "filtered": json_numbers(self.filtered),
            "unfiltered": json_numbers(self.unfiltered),
            "intervals": {view: json_intervals(found) for view, found in self.intervals.items()},
            "by_history_length": [bucket.to_json() for bucket in self.by_history_length],
            "users": len(self.users),
            "items": self.num_items,
            "targets": self.targets,
            "targets_already_seen": self.targets_already_seen,
            "tie_rule": self.tie_rule,
            "protocol": self.protocol,
            "interval": f"95 % percentile bootstrap over users, {self.resamples} resamples, seed {self.seed}",
        }


def compare(
    a: Evaluation,
    b: Evaluation,
    *,
    metric: str = "ndcg@10",
    view: ViewName = "filtered",
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """The mean difference a - b of one metric on the same users; `RequestError` if they are not the same."""
    if not (
        np.array_equal(a.users, b.users)
        and np.array_equal(a.ranks_filtered.targets, b.ranks_filtered.targets)
    ):
        raise RequestError(
            f"the evaluations differ in users or targets ({len(a.users)} and {len(b.users)} users): "
            "a paired comparison needs both models evaluated on the same cases"
        )
    return paired_difference(
        a.per_user(metric, view), b.per_user(metric, view), resamples=resamples, seed=seed
    )
