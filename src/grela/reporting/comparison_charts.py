"""The charts of a comparison as inline SVG. Each is "" where there is nothing to draw.

Blue circles are values with seen items filtered, orange diamonds without, as in the report of a single model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from markupsafe import Markup

from grela.reporting.label_places import HEIGHT, Box, label_places, nearest_point
from grela.reporting.scales import log_axis
from grela.reporting.small_multiples import courses_by_epoch, courses_by_seconds, groups_by_length
from grela.reporting.svg import (
    CHARACTER,
    WIDTH,
    Axis,
    Scale,
    dot,
    element,
    grid_y,
    interval,
    label,
    legend,
    line,
    picture,
    round_axis,
    ticks_x,
)
from grela.reporting.text import VIEWS, duration, megabytes, name, number, significant

if TYPE_CHECKING:
    from grela.reporting.comparison import ComparedModel, ComparisonData
    from grela.reporting.report import Estimate

SERIES = {"filtered": 1, "unfiltered": 2}
TOP = 18.0
BEFORE = 86.0


def all_charts(data: "ComparisonData") -> dict[str, Markup]:
    """Every chart of the page, by name."""
    models = data.models
    return {
        "ndcg": accuracy("ndcg", "NDCG@10", models, "ndcg@10"),
        "hr": accuracy("hr", "HR@10", models, "hr@10"),
        **against_time("time", models),
        **against_memory("memory", models),
        **against_latency("latency", models),
        "by_length": groups_by_length("by-length", models),
        "by_epoch": courses_by_epoch("by-epoch", models),
        "by_seconds": courses_by_seconds("by-seconds", models),
    }


def accuracy(key: str, title: str, models: Sequence["ComparedModel"], metric: str) -> Markup:
    """One row for each model: value and interval in both views, and faintly each seed's value."""
    if not models:
        return Markup("")
    signs, top = legend([(dot(0, 0, SERIES[view]), words) for view, words in VIEWS.items()], 0)
    top, row = top + 8, 36.0
    bottom = top + row * len(models)
    left = 14 + CHARACTER * max(len(name(m.name)) for m in models)
    scores = [(m, view, m.scores[view][metric]) for m in models for view in VIEWS]
    values = [v for _, _, score in scores for v in (*score.estimate, *score.by_seed) if isfinite(v)]
    axis = round_axis([0.0, *values], start=left, end=WIDTH - 14)
    drawn = [ticks_x(axis, bottom, title)]
    drawn += [line(axis(t), top, axis(t), bottom, "grid") for t in axis.ticks]
    for j, model in enumerate(models):
        y = top + row * (j + 0.5)
        drawn.append(label(0, y + 4, name(model.name), style="" if model.trained else "quiet"))
        for view, down in (("filtered", -7.0), ("unfiltered", 7.0)):
            score = model.scores[view][metric]
            drawn += [_seed(axis(v), y + down, SERIES[view]) for v in score.by_seed if len(score.by_seed) > 1]
            drawn.append(interval(score.estimate, axis, y + down, SERIES[view]))
    words = "; ".join(
        f"{name(m.name)}: "
        + ", ".join(f"{number(m.scores[v][metric].estimate[0])} {VIEWS[v]}" for v in VIEWS)
        for m in models
    )
    return picture(key, f"{title} by model", words, bottom + 36, signs, *drawn)


def _seed(x: float, y: float, series: int) -> Markup:
    return element("circle", {"cx": x, "cy": y, "r": 2.5, "class": f"seed s{series}"})


def against_time(key: str, models: Sequence["ComparedModel"]) -> dict[str, Markup]:
    """NDCG@10 over training time. What is fitted at once stands before the axis."""
    costs = [m.training_seconds if m.trained else None for m in models]
    words = "training time, s (log scale)"
    return _scatters(key, "NDCG@10 and training time", models, costs, words, log_axis, duration)


def against_memory(key: str, models: Sequence["ComparedModel"]) -> dict[str, Markup]:
    """NDCG@10 over peak memory."""

    def from_zero(values: Sequence[float], *, start: float, end: float) -> Scale:
        return round_axis([0.0, *values], start=start, end=end)

    costs = [m.peak_bytes / 1e6 for m in models]
    title, words = "NDCG@10 and peak memory", "peak memory, MB"
    return _scatters(key, title, models, costs, words, from_zero, lambda x: megabytes(1e6 * x))


def against_latency(key: str, models: Sequence["ComparedModel"]) -> dict[str, Markup]:
    """NDCG@10 over the time that one user's scores take."""
    costs = [m.latency_ms for m in models]
    title, words = "NDCG@10 and latency", "time to score one user, ms (log scale)"
    return _scatters(key, title, models, costs, words, log_axis, lambda x: f"{significant(x)} ms")


@dataclass(frozen=True)
class Mark:
    """One model of a scatter; x is None where it stands before the axis.

    words: its name and, for where that finds no room, its place in the ranking
    """

    words: tuple[str, str]
    x: float | None
    estimate: "Estimate"
    at_once: bool


def _scatters(
    key: str,
    title: str,
    models: Sequence["ComparedModel"],
    costs: Sequence[float | None],
    x_label: str,
    scale: Callable[..., Scale],
    told: Callable[[float], str],
) -> dict[str, Markup]:
    """One scatter for each view by "key_view", on the same axes."""
    drawn = [(j, m, x) for j, (m, x) in enumerate(zip(models, costs, strict=True), 1) if x is None or x > 0]
    if all(x is None for _, _, x in drawn):
        return {f"{key}_{view}": Markup("") for view in VIEWS}
    bottom = TOP + 210.0 + 6 * len(drawn)
    values = [v for _, m, _ in drawn for view in VIEWS for v in m.ndcg(view)]
    y_axis = round_axis(values, start=bottom, end=TOP + 22)
    left = 12 + CHARACTER * max(len(y_axis.words(t)) for t in y_axis.ticks)
    before = BEFORE if any(x is None for _, _, x in drawn) else 0.0
    x_axis = scale([x for _, _, x in drawn if x is not None], start=left + before, end=WIDTH - 24)
    return {
        f"{key}_{view}": _scatter(
            f"{key}-{view}",
            f"{title}, {VIEWS[view]}",
            [Mark((name(m.name), str(j)), x, m.ndcg(view), not m.trained) for j, m, x in drawn],
            SERIES[view],
            (x_axis, x_label),
            (y_axis, f"NDCG@10, {VIEWS[view]}"),
            told,
        )
        for view in VIEWS
    }


def _scatter(
    key: str,
    title: str,
    marks: Sequence[Mark],
    series: int,
    across: tuple[Scale, str],
    upwards: tuple[Axis, str],
    told: Callable[[float], str],
) -> Markup:
    """Marks with whiskers and their names, on two axes with their titles."""
    (x_axis, x_label), (y_axis, y_label) = across, upwards
    bottom, left = y_axis.start, 12 + CHARACTER * max(len(y_axis.words(t)) for t in y_axis.ticks)
    signs, _ = legend([(dot(0, 0, series), "trained in epochs"), (_square(0, 0), "fitted at once")], 0)
    drawn = [
        grid_y(y_axis, left),
        label(0, TOP + 12, y_label, style="quiet"),
        ticks_x(x_axis, bottom, x_label),
    ]
    drawn += [line(x_axis(t), y_axis.end, x_axis(t), bottom, "grid") for t in x_axis.ticks]
    if any(mark.x is None for mark in marks):
        drawn.append(label(left + 28, bottom + 16, "at once", anchor="middle", style="quiet"))
    at = [(left + 28 if m.x is None else x_axis(m.x), y_axis(m.estimate[0])) for m in marks]
    names = _names(marks, at, (left + 2, TOP + 16, WIDTH, bottom - 2), y_axis)
    drawn += [_leader(place, box) for place, (_, box) in zip(at, names, strict=True) if box]
    drawn += [_mark(mark, place, y_axis, series) for mark, place in zip(marks, at, strict=True)]
    drawn += [
        _name(words, place, box, mark.at_once)
        for mark, place, (words, box) in zip(marks, at, names, strict=True)
        if box
    ]
    description = "; ".join(
        f"{m.words[0]}: {number(m.estimate[0])} at {'no epochs' if m.x is None else told(m.x)}" for m in marks
    )
    return picture(key, title, description, bottom + 36, signs, *drawn)


def _names(
    marks: Sequence[Mark], at: Sequence[tuple[float, float]], room: Box, y_axis: Axis
) -> list[tuple[str, Box | None]]:
    """The words of each mark and their place, None where there is none."""
    widths = [[CHARACTER * len(words) + 3 for words in mark.words] for mark in marks]
    whiskers = [box for m, (x, _) in zip(marks, at, strict=True) for box in _whisker_box(m, x, y_axis)]
    places = label_places(at, widths, room, whiskers)
    if not all(place and place[0] == 0 for place in places):
        # Rather a name upon a whisker than none.
        places = label_places(at, widths, room)
    return [
        (mark.words[place[0]], place[1]) if place else ("", None)
        for mark, place in zip(marks, places, strict=True)
    ]


def _name(words: str, place: tuple[float, float], box: Box, at_once: bool) -> Markup:
    """Words within their box, at the side that faces the mark."""
    style = "name quiet" if at_once else "name"
    if box[0] > place[0]:
        return label(box[0], box[3] - 4, words, style=style)
    if box[2] < place[0]:
        return label(box[2], box[3] - 4, words, anchor="end", style=style)
    return label((box[0] + box[2]) / 2, box[3] - 4, words, anchor="middle", style=style)


def _whisker_box(mark: Mark, x: float, y_axis: Axis) -> list[Box]:
    """What the whisker of a mark covers, if it has one."""
    _, low, high = mark.estimate
    return [(x - 2, y_axis(high), x + 2, y_axis(low))] if isfinite(low) and isfinite(high) else []


def _mark(mark: Mark, place: tuple[float, float], y_axis: Scale, series: int) -> Markup:
    x, y = place
    _, low, high = mark.estimate
    drawn = Markup("")
    if isfinite(low) and isfinite(high):
        drawn += line(
            x, y_axis(low), x, y_axis(high), "whisker thin " + ("at-once" if mark.at_once else f"s{series}")
        )
    return drawn + (_square(x, y) if mark.at_once else dot(x, y, series))


def _square(x: float, y: float) -> Markup:
    return element("rect", {"x": x - 4, "y": y - 4, "width": 8, "height": 8, "class": "mark hollow at-once"})


def _leader(place: tuple[float, float], box: Box) -> Markup:
    """A line to a name that is not beside its mark."""
    x, y = nearest_point(box, place)
    if (x - place[0]) ** 2 + (y - place[1]) ** 2 < HEIGHT**2:
        return Markup("")
    return line(*place, x, y, "leader")
