"""From a fitted model and its evaluation to what the report shows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grela.data.histories import Cases, HistoryBatch
from grela.data.splitting import Split
from grela.data.vocabulary import RawId
from grela.errors import RequestError
from grela.evaluation.evaluation import Evaluation
from grela.evaluation.ranks import Ranks
from grela.models.analysis import METHOD, branch_shares, mixing_ranks
from grela.models.recgrela import RecGRELA
from grela.reporting.report import (
    Curve,
    Estimate,
    ExampleUser,
    Fact,
    LayerRank,
    LayerShare,
    LengthBucket,
    MetricRow,
    Recommended,
    ReportData,
)
from grela.reporting.text import evenly
from grela.serving.ranking import TopList

# C tested users

Top = Callable[[HistoryBatch, int], Sequence[TopList]]
"""The k best items for each of some histories, as they are recommended by default."""

Analysed = tuple[list[np.ndarray], list[np.ndarray]]
"""The histories whose layers are looked into, and their gaps."""

METRICS = {
    "ndcg@10": "NDCG@10",
    "hr@10": "HR@10",
    "mrr": "MRR",
    "ndcg@5": "NDCG@5",
    "ndcg@20": "NDCG@20",
    "hr@5": "HR@5",
    "hr@20": "HR@20",
    "recall@10": "recall@10",
    "precision@10": "precision@10",
    "coverage@10": "coverage@10",
    "novelty@10": "novelty@10 (bits)",
    "popularity_bias@10": "popularity bias@10",
}
EXAMPLES = 6
LIST_LENGTH = 10
HISTORY_SHOWN = 12
TRUTH_SHOWN = 10
ANALYSED = 4


def report_data(
    *,
    title: str,
    command: str,
    duration: str,
    model: RecGRELA,
    window: int,
    split: Split,
    titles: Mapping[RawId, str],
    epochs: Sequence[Mapping[str, Any]],
    evaluation: Evaluation,
    floor: Evaluation,
    top: Top,
    facts: Sequence[Fact],
    config: Mapping[str, object],
    environment: Mapping[str, object],
) -> ReportData:
    """Everything the page shows of one run.

    window: how many events the bidirectional form reads; its layers are looked into on no more than those
    titles: by raw item id; an item without one is shown by its id
    epochs: the lines of metrics.jsonl, in order
    evaluation, floor: the model's and popularity's, both on the split's test cases
    facts: what else there is to say of the data, such as its source and what was dropped

    Raises RequestError where an evaluation is not of the split's test cases or lacks a metric the page needs.
    """
    cases = split.cases("test")
    check_evaluations(cases, evaluation, floor)
    analysed = _long_histories(cases, window if model.config.form == "bidirectional" else None)
    return ReportData(
        title=title,
        command=command,
        duration=duration,
        causal=model.config.form == "causal",
        interval=interval_words(evaluation),
        data=[*facts, *_data_facts(split)],
        protocol=_protocol(split, evaluation, len(analysed[0])),
        metrics=metric_rows(evaluation, floor),
        loss=_loss(epochs),
        validation=_validation(epochs),
        best_epoch=best_epoch(epochs),
        by_length=_by_length(evaluation),
        examples=_examples(split, cases, titles, _ranks_of_lists(model, evaluation), top),
        shares=_shares(model, analysed),
        ranks=_ranks(model, analysed),
        config=config,
        environment=environment,
    )


def check_evaluations(cases: Cases, evaluation: Evaluation, floor: Evaluation) -> None:
    """Raise RequestError unless both are of these cases and hold every metric of `METRICS`."""
    for name, given in (("evaluation", evaluation), ("popularity floor", floor)):
        if not np.array_equal(given.users, cases.users):
            raise RequestError(
                f"the {name} is of {len(given.users)} users, not of the {len(cases)} test cases of the split; "
                "evaluate its test part"
            )
        missing = [metric for metric in METRICS if metric not in given.filtered]
        if missing:
            raise RequestError(
                f"the {name} lacks {', '.join(missing)}; evaluate with the default cut-offs 5, 10 and 20"
            )


def metric_rows(evaluation: Evaluation, floor: Evaluation) -> list[MetricRow]:
    """Each metric of `METRICS` with its intervals, and the popularity floor beside it."""
    return [
        MetricRow(
            name,
            _estimate(evaluation, "filtered", metric),
            _estimate(evaluation, "unfiltered", metric),
            floor.filtered[metric],
            floor.unfiltered[metric],
        )
        for metric, name in METRICS.items()
    ]


def interval_words(evaluation: Evaluation) -> str:
    """What the intervals are."""
    return f"95 % percentile bootstrap over users, {evaluation.resamples:,} resamples, seed {evaluation.seed}"


def best_epoch(epochs: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch whose weights were kept; None where nothing was validated."""
    validated = [epoch for epoch in epochs if epoch["metrics"]]
    return int(validated[-1]["best_epoch"]) if validated else None


def _estimate(evaluation: Evaluation, view: str, metric: str) -> Estimate:
    values = evaluation.filtered if view == "filtered" else evaluation.unfiltered
    # A coverage has no interval: see `Evaluation.intervals`.
    low, high = evaluation.intervals[view].get(metric, (np.nan, np.nan))
    return values[metric], low, high


def _data_facts(split: Split) -> list[Fact]:
    histories, lengths = split.histories, split.histories.lengths
    return [
        ("users", len(histories)),
        ("items", histories.num_items),
        ("events", histories.num_events),
        ("events of a user, median", f"{np.median(lengths):g}"),
        ("events of a user, fewest and most", f"{lengths.min():,} and {lengths.max():,}"),
    ]


def _protocol(split: Split, evaluation: Evaluation, analysed: int) -> list[Fact]:
    report = split.report()
    return [
        ("split", report.kind),
        ("fingerprint of the split", report.fingerprint),
        ("training events", report.train_events),
        ("users validated on", report.valid.cases),
        ("users tested", report.test.cases),
        ("users that only train", report.train_only_users),
        ("test users left out for want of a history", report.test.cold_users),
        ("test events of items that never occur in training", report.test.cold_targets),
        ("test items already seen by their user: misses when filtered", evaluation.targets_already_seen),
        ("ranking", evaluation.protocol),
        ("ties", evaluation.tie_rule),
        ("intervals", interval_words(evaluation)),
        ("popularity bias", "0: lists are as popular as histories; 1: twice as popular"),
        ("inside the model", f"the {analysed} longest test histories; {METHOD}"),
    ]


def _loss(epochs: Sequence[Mapping[str, Any]]) -> list[Curve]:
    return [Curve("training loss", [e["epoch"] for e in epochs], [e["loss"] for e in epochs])]


def _validation(epochs: Sequence[Mapping[str, Any]]) -> list[Curve]:
    validated = [epoch for epoch in epochs if epoch["metrics"]]
    if not validated:
        return []
    x = [epoch["epoch"] for epoch in validated]
    return [
        Curve(name, x, [epoch["metrics"][metric] for epoch in validated])
        for metric, name in (
            ("filtered/ndcg@10", "seen items filtered"),
            ("unfiltered/ndcg@10", "not filtered"),
        )
    ]


def _by_length(evaluation: Evaluation) -> list[LengthBucket]:
    return [
        LengthBucket(
            bucket.label,
            bucket.users,
            (bucket.filtered["ndcg@10"], *bucket.intervals["filtered"]["ndcg@10"]),
            (bucket.unfiltered["ndcg@10"], *bucket.intervals["unfiltered"]["ndcg@10"]),
        )
        for bucket in evaluation.by_history_length
    ]


def _examples(
    split: Split, cases: Cases, titles: Mapping[RawId, str], ranks: Ranks, top: Top
) -> list[ExampleUser]:
    """Users from the shortest to the longest history, evenly spaced in that order; the smaller id at a tie."""
    chosen = evenly(np.lexsort((cases.users, cases.batch.lengths)).tolist(), EXAMPLES)
    tops = top(cases.batch.take(np.array(chosen)), LIST_LENGTH)
    users = split.histories.users.decode(cases.users[chosen])
    return [
        _example(str(user), cases, c, best, titles, float(ranks.best[c]))
        for user, c, best in zip(users, chosen, tops, strict=True)
    ]


def _ranks_of_lists(model: RecGRELA, evaluation: Evaluation) -> Ranks:
    """The targets' ranks among what is recommended by default."""
    return evaluation.ranks_filtered if model.repeats is None else evaluation.ranks_unfiltered


def _example(
    user: str, cases: Cases, c: int, best: TopList, titles: Mapping[RawId, str], rank: float
) -> ExampleUser:
    history, targets = cases.batch[c], list(dict.fromkeys(cases.targets(c).tolist()))
    shown = titles_of(cases, targets[:TRUTH_SHOWN], titles)
    if len(targets) > TRUTH_SHOWN:
        shown.append(f"… and {len(targets) - TRUTH_SHOWN:,} more")
    listed = zip(titles_of(cases, best.items, titles), best.items, best.scores, strict=True)
    return ExampleUser(
        user=user,
        history=titles_of(cases, history[-HISTORY_SHOWN:], titles),
        history_length=len(history),
        truth=shown,
        recommendations=[
            Recommended(title, float(score), int(item) in targets) for title, item, score in listed
        ],
        rank=int(rank) if np.isfinite(rank) else None,
    )


def titles_of(cases: Cases, items: Sequence[int] | np.ndarray, titles: Mapping[RawId, str]) -> list[str]:
    """The titles of dense items; the raw id where an item has none."""
    return [str(titles.get(raw, raw)) for raw in cases.histories.catalogue.decode(items)]


def _long_histories(cases: Cases, window: int | None) -> Analysed:
    """The longest test histories, the smaller user id first at a tie; their last `window` events where given."""
    order = np.lexsort((cases.users, -cases.batch.lengths))[:ANALYSED]
    chosen = cases.batch.take(order)
    gaps = np.split(chosen.gaps, np.cumsum(chosen.lengths)[:-1])
    kept = slice(-(window or 0), None)
    return [chosen[c][kept] for c in range(len(chosen))], [gap[kept] for gap in gaps]


def _shares(model: RecGRELA, analysed: Analysed) -> list[LayerShare]:
    return [
        LayerShare(share.layer, share.local, share.attention, share.gate_open)
        for share in branch_shares(model, *analysed)
    ]


def _ranks(model: RecGRELA, analysed: Analysed) -> list[LayerRank]:
    return [
        LayerRank(rank.layer, rank.head, rank.without_local, rank.with_local, rank.positions, rank.head_width)
        for rank in mixing_ranks(model, *analysed)
    ]
