"""What a report says, as values, and the one self-contained page that says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from grela.errors import DataError
from grela.reporting import charts, text
from grela.reporting.page import page, write_page

Estimate = tuple[float, float, float]
"""(value, low, high); the bounds are NaN where no interval applies."""

Fact = tuple[str, str | int | float]
"""(label, value); integers are shown with separators of thousands, so pass years and seeds as strings."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart; a value that is not finite leaves a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise DataError(
                f"curve {self.name!r} has {len(self.x)} x and {len(self.y)} y; give one y for each x"
            )


@dataclass(frozen=True)
class MetricRow:
    """One metric over all tested users, seen items filtered and not, and what popularity alone reaches."""

    name: str
    filtered: Estimate
    unfiltered: Estimate
    popularity_filtered: float | None = None
    popularity_unfiltered: float | None = None


@dataclass(frozen=True)
class LengthBucket:
    """NDCG@10 of the users whose history length is in `label`, such as "101–200"."""

    label: str
    users: int
    filtered: Estimate
    unfiltered: Estimate


@dataclass(frozen=True)
class Recommended:
    """One place of a top list; `hit` where the item is one of the hidden ones."""

    title: str
    score: float
    hit: bool


@dataclass(frozen=True)
class ExampleUser:
    """One user: the end of the history (latest last), what was hidden, what was recommended (best first).

    history_length: events in the whole history, of which `history` may hold only the last
    rank: 1-based place of the best hidden item in the whole ranking; None where it cannot be ranked
    """

    user: str
    history: Sequence[str]
    history_length: int
    truth: Sequence[str]
    recommendations: Sequence[Recommended]
    rank: int | None

    def __post_init__(self) -> None:
        if self.history_length < len(self.history):
            raise DataError(
                f"user {self.user!r} has {len(self.history)} titles in a history of {self.history_length} "
                "events; history_length counts the whole history"
            )


@dataclass(frozen=True)
class LayerShare:
    """Shares of the two branches in the energy that passes the gate of one layer (from 1); they sum to 1.

    gate_open: mean absolute value of the gate
    """

    layer: int
    local: float
    attention: float
    gate_open: float

    def __post_init__(self) -> None:
        total = self.local + self.attention
        if isfinite(total) and abs(total - 1) > 1e-3:
            raise DataError(
                f"layer {self.layer}: the shares of local branch and attention sum to {total:g}, expected 1"
            )


@dataclass(frozen=True)
class LayerRank:
    """Effective rank of the matrix by which one head (layer and head from 1) mixes positions.

    positions: T, which bounds the rank; head_width: d, which bounds it without the local branch as long as
    nothing masks the future (a causal mask lifts that bound).
    """

    layer: int
    head: int
    without_local: float
    with_local: float
    positions: int
    head_width: int


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything the page shows. Sections without content say so.

    data:       facts about the log: events, users, items, what each step dropped
    protocol:   facts about the measurement: split, fingerprint, tie rule, filter, seeds
    interval:   what the intervals are, such as "95 % bootstrap over users"
    best_epoch: the x of `validation` whose weights were kept
    causal:     whether the model hides the future from each position
    """

    title: str
    command: str
    duration: str
    causal: bool
    interval: str
    data: Sequence[Fact] = ()
    protocol: Sequence[Fact] = ()
    metrics: Sequence[MetricRow] = ()
    loss: Sequence[Curve] = ()
    validation: Sequence[Curve] = ()
    best_epoch: int | None = None
    by_length: Sequence[LengthBucket] = ()
    examples: Sequence[ExampleUser] = ()
    shares: Sequence[LayerShare] = ()
    ranks: Sequence[LayerRank] = ()
    config: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, object] = field(default_factory=dict)


def render(data: ReportData) -> str:
    """The page as one HTML text: no script, no address outside itself, no character HTML forbids."""
    return page(
        "report.html.jinja",
        {
            "data": data,
            "headline": _headline(data.metrics),
            "charts": _charts(data),
            "curve_table": text.curve_table,
            "verdict": text.verdict,
            "medians": text.medians(data.ranks),
        },
    )


def write_report(data: ReportData, path: Path) -> None:
    """Write the page to `path`, whole or not at all; RunError where it cannot be written."""
    write_page(render(data), path)


def _headline(metrics: Sequence[MetricRow]) -> list[MetricRow]:
    """NDCG@10 and HR@10 where they were measured, else the first two metrics."""
    by_name = {row.name.lower(): row for row in metrics}
    wanted = [by_name[name] for name in ("ndcg@10", "hr@10") if name in by_name]
    return wanted or list(metrics[:2])


def _charts(data: ReportData) -> dict[str, str]:
    """The charts by name, as SVG; an empty text where there is nothing to draw."""
    return {
        "loss": charts.lines("loss", "Training loss by epoch", data.loss, y_label="loss"),
        "validation": charts.lines(
            "validation",
            "Validation NDCG@10 by epoch",
            data.validation,
            y_label="NDCG@10",
            best=data.best_epoch,
        ),
        "by_length": charts.intervals("by-length", "NDCG@10 by length of history", data.by_length),
        "shares": charts.stacked_shares("shares", "Shares of the two branches by layer", data.shares),
        "ranks": charts.paired_ranks("ranks", "Effective rank by layer and head", data.ranks),
    }
