"""Measure any scorer: full ranking, seen items filtered and not, with intervals."""

import numpy as np

from grela.data.histories import Cases
from grela.errors import ConfigError, DataError
from grela.evaluation import metrics
from grela.evaluation.beyond_accuracy import coverage, novelty, popularity_bias
from grela.evaluation.by_length import by_history_length
from grela.evaluation.evaluation import Evaluation
from grela.evaluation.intervals import Ratio
from grela.evaluation.scan import SCORES_BYTES, Progress, View, scan
from grela.evaluation.scorer import Scorer
from grela.evaluation.summary import summarise
from grela.evaluation.train_counts import checked_train_counts


def evaluate(
    scorer: Scorer,
    cases: Cases,
    *,
    train_counts: np.ndarray,
    ks: tuple[int, ...] = (5, 10, 20),
    lists_k: int = 10,
    resamples: int = 1000,
    seed: int = 0,
    scores_bytes: int = SCORES_BYTES,
    progress: Progress | None = None,
) -> Evaluation:
    """All metrics of `scorer` on `cases`, at most one case per user; the order of the cases does not matter.

    train_counts: int [N+1], events of each item in training, entry 0 (padding) 0: the measure of popularity
    ks: cut-offs of the metrics of accuracy
    lists_k: length of the lists behind coverage, novelty and popularity bias, and cut-off by history length
    scores_bytes: how much of the users x items scores is held at a time
    progress: called with (users done, users in all) after each block

    Raises `ModelError` where the scorer's scores have a wrong shape, type or a NaN; `EmptyDataError`,
    `DataError` and `ConfigError` for cases and settings that make no sense.
    """
    checked_train_counts(train_counts, cases.histories.num_items)
    _check(ks, lists_k, resamples)
    cases = _in_order_of_user(cases)
    found = scan(scorer, cases, lists_k=lists_k, scores_bytes=scores_bytes, progress=progress)
    by_view = {"filtered": found.filtered, "unfiltered": found.unfiltered}
    statistics = {name: _statistics(view, cases, train_counts, ks) for name, view in by_view.items()}
    summaries = summarise(statistics, resamples=resamples, seed=seed)
    for name, view in by_view.items():
        summaries[name].values[f"coverage@{lists_k}"] = coverage(view.lists, scorer.num_items)
    filtered, unfiltered = found.filtered.ranks, found.unfiltered.ranks
    lengths = cases.batch.lengths
    return Evaluation(
        filtered=summaries["filtered"].values,
        unfiltered=summaries["unfiltered"].values,
        intervals={name: summary.intervals for name, summary in summaries.items()},
        by_history_length=by_history_length(
            lengths, filtered, unfiltered, k=lists_k, resamples=resamples, seed=seed
        ),
        users=cases.users,
        history_lengths=lengths,
        ranks_filtered=filtered,
        ranks_unfiltered=unfiltered,
        num_items=scorer.num_items,
        targets=len(filtered.values),
        targets_already_seen=int(np.isinf(filtered.values).sum()),
        ks=ks,
        resamples=resamples,
        seed=seed,
    )


def validate(
    scorer: Scorer, cases: Cases, *, k: int = 10, scores_bytes: int = SCORES_BYTES
) -> dict[str, float]:
    """Metrics of accuracy alone, for the end of an epoch: one pass, no lists, no intervals.

    Keys: "filtered/ndcg@10", "filtered/hr@10", "filtered/mrr", ... and the same with "unfiltered/".
    """
    of_cases = accuracy(scorer, cases, k=k, scores_bytes=scores_bytes)
    return {name: float(values.mean()) for name, values in of_cases.items()}


def accuracy(
    scorer: Scorer, cases: Cases, *, k: int = 10, scores_bytes: int = SCORES_BYTES
) -> dict[str, np.ndarray]:
    """What `validate` takes the means of: each metric of each case, float64 [C]."""
    _check((k,), 1, 1)
    found = scan(scorer, cases, lists_k=0, scores_bytes=scores_bytes)
    return {
        f"{name}/{metric}": values
        for name, view in (("filtered", found.filtered), ("unfiltered", found.unfiltered))
        for metric, values in metrics.per_user(view.ranks, (k,)).items()
    }


def _statistics(view: View, cases: Cases, train_counts: np.ndarray, ks: tuple[int, ...]) -> dict[str, Ratio]:
    statistics = {name: Ratio.mean(values) for name, values in metrics.per_user(view.ranks, ks).items()}
    lists_k = view.lists.shape[1]
    statistics[f"novelty@{lists_k}"] = novelty(view.lists, train_counts)
    statistics[f"popularity_bias@{lists_k}"] = popularity_bias(view.lists, cases.batch, train_counts)
    return statistics


def _in_order_of_user(cases: Cases) -> Cases:
    order = np.argsort(cases.users, kind="stable")
    users = cases.users[order]
    repeated = np.flatnonzero(users[1:] == users[:-1])
    if repeated.size:
        user = cases.histories.users.decode([int(users[repeated[0]])])[0]
        raise DataError(
            f"user {user!r} occurs in more than one case; means and intervals are over users, "
            "so evaluate one case per user at a time"
        )
    return cases.take(order)


def _check(ks: tuple[int, ...], lists_k: int, resamples: int) -> None:
    if not ks or min(ks) < 1:
        raise ConfigError(f"ks is {ks}, expected one or more cut-offs of at least 1")
    if lists_k < 1:
        raise ConfigError(f"lists_k is {lists_k}, expected at least 1")
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}, expected at least 1")
