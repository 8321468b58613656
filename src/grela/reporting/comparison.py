"""What a comparison of models says, as values, and the one self-contained page that says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from grela.reporting import comparison_charts, comparison_words, text
from grela.reporting.page import page, write_page
from grela.reporting.report import Curve, Estimate, Fact
from grela.reporting.text import VIEWS

METRICS = {"ndcg@10": "NDCG@10", "hr@10": "HR@10"}
SHOWN_BELOW = 0.05
"""A difference counts as shown where Holm's p-value is below this."""


@dataclass(frozen=True)
class Score:
    """One metric of one model: the mean over users and seeds with its interval, and the mean of each seed."""

    estimate: Estimate
    by_seed: Sequence[float]


@dataclass(frozen=True)
class LengthScores:
    """NDCG@10 by view of the users whose history length is in `label`, `low` at the least.

    The estimate has an interval where there is one seed; else its bounds are NaN.
    """

    label: str
    low: int
    users: int
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Course:
    """One seed's training: after each epoch, the seconds trained so far and the validation NDCG@10 by view."""

    seconds: Sequence[float]
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One model over its seeds; a number that is not known is NaN.

    scores:      by view, then by metric
    valid:       of the kept epoch, by the metric that chose it: (view, mean over seeds)
    epochs:      trained, seed by seed; 0 of what is fitted at once, as floors are
    best_epochs: those whose weights were kept
    settings:    dotted names and values; those that differ between seeds one after the other
    """

    name: str
    source: str
    seeds: Sequence[int]
    scores: Mapping[str, Mapping[str, Score]]
    valid: tuple[str, float]
    epochs: Sequence[int]
    best_epochs: Sequence[int] = ()
    courses: Sequence[Course] = ()
    by_length: Sequence[LengthScores] = ()
    training_seconds: float = nan
    events_per_second: float = nan
    peak_bytes: float = nan
    latency_ms: float = nan
    parameters: float = nan
    settings: Sequence[tuple[str, str]] = ()

    @property
    def trained(self) -> bool:
        return any(self.epochs)

    def ndcg(self, view: str) -> Estimate:
        """NDCG@10 with its interval."""
        return self.scores[view]["ndcg@10"].estimate


@dataclass(frozen=True)
class Pair:
    """NDCG@10 of a less b's on the same users, with its interval; the p-value, and Holm's of all pairs of the view."""

    a: str
    b: str
    difference: Estimate
    p_value: float
    p_holm: float

    @property
    def shown(self) -> bool:
        return self.p_holm < SHOWN_BELOW

    def turned(self) -> "Pair":
        """The same of b less a."""
        value, low, high = self.difference
        return Pair(self.b, self.a, (-value, -high, -low), self.p_value, self.p_holm)


@dataclass(frozen=True, kw_only=True)
class ComparisonData:
    """Everything the page shows; `models` in the order of the ranking, `pairs` by view.

    budget:   what each model could spend, in words
    trials:   settings tried for each model on validation data before
    machines: what is known of the machines of the runs, one for each that differs
    failed:   (run, why)
    """

    title: str
    split: str
    budget: str
    trials: int
    interval: str
    models: Sequence[ComparedModel]
    pairs: Mapping[str, Sequence[Pair]]
    failed: Sequence[tuple[str, str]] = ()
    data: Sequence[Fact] = ()
    protocol: Sequence[Fact] = ()
    machines: Sequence[Sequence[Fact]] = ()


def render(data: ComparisonData) -> str:
    """The page as one HTML text: no script, no address outside itself, no character HTML forbids."""
    trained = [model for model in data.models if model.trained]
    return page(
        "comparison.html.jinja",
        {
            "data": data,
            "trained": trained,
            "views": VIEWS,
            "metrics": METRICS,
            "seeds": comparison_words.seeds(data),
            "standings": {view: comparison_words.standing(data, view) for view in VIEWS},
            "cautions": comparison_words.cautions(data),
            "pair_of": {view: _both_ways(data.pairs[view]) for view in VIEWS},
            "charts": comparison_charts.all_charts(data),
            "mean_curves": {view: [mean_curve(model, view) for model in trained] for view in VIEWS},
            "seconds": [mean_curve(model, None) for model in trained],
            "curve_table": text.curve_table,
        },
    )


def write_comparison(data: ComparisonData, path: Path) -> None:
    """Write the page to `path`, whole or not at all; RunError where it cannot be written."""
    write_page(render(data), path)


def mean_curve(model: ComparedModel, view: str | None) -> Curve:
    """Validation NDCG@10, or seconds trained where `view` is None, by epoch: means over seeds while all go on."""
    columns = [course.seconds if view is None else course.values[view] for course in model.courses]
    means = [sum(values) / len(values) for values in zip(*columns, strict=False)]
    return Curve(text.name(model.name), range(1, len(means) + 1), means)


def _both_ways(pairs: Sequence[Pair]) -> dict[tuple[str, str], Pair]:
    return {(p.a, p.b): p for pair in pairs for p in (pair, pair.turned())}
