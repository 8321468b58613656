"""Small pictures of the same kind side by side, one for each model, on shared axes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING

from markupsafe import Markup

from grela.reporting.scales import Places, log_axis
from grela.reporting.svg import (
    CHARACTER,
    WIDTH,
    Axis,
    Scale,
    centred,
    dot,
    element,
    grid_y,
    label,
    legend,
    line,
    picture,
    round_axis,
    whole_axis,
)
from grela.reporting.text import VIEWS, count, duration, evenly, name, number

if TYPE_CHECKING:
    from grela.reporting.comparison import ComparedModel

COLUMNS = 2
GAP = 24.0
INSET = (6.0, 14.0)
HEIGHT = 84.0
TITLE = 20.0
STEP = TITLE + HEIGHT + 8
MOST_POINTS = 120

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One model: a line for each view and, faintly, one for each seed and view.

    whiskers: (x, low, high) by view
    """

    name: str
    lines: Sequence[Points]
    by_seed: Sequence[Sequence[Points]]
    whiskers: Sequence[Sequence[tuple[float, float, float]]] = ((), ())


def groups_by_length(key: str, models: Sequence["ComparedModel"]) -> Markup:
    """NDCG@10 of the users grouped by the length of their history."""
    panels = []
    for model in models:
        scores = [[group.scores[view] for group in model.by_length] for view in VIEWS]
        panels.append(
            Panel(
                model.name,
                [_points(range(len(of)), [score.estimate[0] for score in of]) for of in scores],
                [
                    [_points(range(len(of)), values) for values in zip(*(s.by_seed for s in of), strict=True)]
                    for of in scores
                ],
                [[(float(j), *score.estimate[1:]) for j, score in enumerate(of)] for of in scores],
            )
        )
    names = [count(group.low) for group in models[0].by_length] if models else []

    def scale(_: Sequence[float], *, start: float, end: float) -> Scale:
        return Places(names, start, end)

    def told(x: float) -> str:
        return f"from {names[int(x)]}"

    return _panels(
        key, "NDCG@10 by length of history", panels, scale, "events of the history, from", told, zero=True
    )


def courses_by_epoch(key: str, models: Sequence["ComparedModel"]) -> Markup:
    """Validation NDCG@10 after each epoch."""
    panels = [
        _course(model, lambda seconds: [float(j) for j in range(1, len(seconds) + 1)]) for model in models
    ]
    title = "Validation NDCG@10 by epoch"
    return _panels(key, title, panels, whole_axis, "epoch", lambda x: f"epoch {x:g}")


def courses_by_seconds(key: str, models: Sequence["ComparedModel"]) -> Markup:
    """Validation NDCG@10 over the seconds trained."""
    panels = [_course(model, list) for model in models]
    return _panels(
        key, "Validation NDCG@10 by training time", panels, log_axis, "training time, s (log)", duration
    )


def _course(model: "ComparedModel", x_of: Callable[[Sequence[float]], list[float]]) -> Panel:
    """The mean over the seeds as long as all go on, and each seed."""
    by_seed = [
        [_points(x_of(course.seconds), course.values[view]) for course in model.courses] for view in VIEWS
    ]
    lines = [[_mean(points) for points in zip(*of, strict=False)] for of in by_seed]
    return Panel(model.name, lines, by_seed)


def _points(xs: Sequence[float], ys: Sequence[float]) -> Points:
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _panels(
    key: str,
    title: str,
    panels: Sequence[Panel],
    scale: Callable[..., Scale],
    x_label: str,
    told: Callable[[float], str],
    *,
    zero: bool = False,
) -> Markup:
    """The panels row by row; the first one's lines are drawn in grey in all others."""
    panels = [panel for panel in panels if any(map(_known, panel.lines))]
    if not panels:
        return Markup("")
    entries = [
        (line(-12, 0, 12, 0, f"curve s{j}") + dot(0, 0, j), words)
        for j, words in enumerate(VIEWS.values(), 1)
    ]
    if len(panels) > 1:
        entries.append((line(-12, 0, 12, 0, "reference"), name(panels[0].name)))
    signs, top = legend(entries, 0)
    frames = _frames(panels, scale, top + 8 + TITLE, zero=zero)
    drawn = []
    for j, (panel, frame) in enumerate(zip(panels, frames, strict=True)):
        drawn.append(label(frame.left, frame.y_axis.end - 7, name(panel.name)))
        drawn.append(_levels(frame, named=j % COLUMNS == 0))
        if j + COLUMNS >= len(panels):
            drawn.append(_below(frame, x_label))
        drawn.append(_inside(panel, panels[0] if j else None, frame))
    words = "; ".join(f"{name(panel.name)}: {_in_words(panel, told)}" for panel in panels)
    return picture(key, title, words, frames[-1].y_axis.start + 38, signs, *drawn)


@dataclass(frozen=True)
class Frame:
    """Where a panel is drawn."""

    left: float
    width: float
    x_axis: Scale
    y_axis: Axis


def _frames(panels: Sequence[Panel], scale: Callable[..., Scale], top: float, *, zero: bool) -> list[Frame]:
    """A frame for each panel, all on the same axes."""
    ways = [way for panel in panels for of in (panel.lines, *panel.by_seed) for way in of]
    points = [point for way in ways for point in _known(way)]
    bounds = [bound for panel in panels for of in panel.whiskers for _, *pair in of for bound in pair]
    heights = [*(y for _, y in points), *bounds, *([0.0] if zero else [])]
    first_row = round_axis(heights, start=top + HEIGHT, end=top)
    left = 12 + CHARACTER * max(len(first_row.words(t)) for t in first_row.ticks)
    width = (WIDTH - 10 - left - GAP * (COLUMNS - 1)) / COLUMNS
    frames = []
    for j in range(len(panels)):
        row, column = divmod(j, COLUMNS)
        start = left + column * (width + GAP)
        # The words of the ticks may be wider than the gap to the next panel.
        x_axis = scale([x for x, _ in points], start=start + INSET[0], end=start + width - INSET[1])
        y_axis = replace(first_row, start=first_row.start + row * STEP, end=first_row.end + row * STEP)
        frames.append(Frame(start, width, x_axis, y_axis))
    return frames


def _known(points: Points) -> Points:
    return [(x, y) for x, y in points if isfinite(x) and isfinite(y)]


def _levels(frame: Frame, *, named: bool) -> Markup:
    """The level lines; their words where no other panel has said them."""
    right = frame.left + frame.width
    if named:
        return grid_y(frame.y_axis, frame.left, right)
    levels = map(frame.y_axis, frame.y_axis.ticks)
    return Markup("").join(line(frame.left, y, right, y, "grid") for y in levels)


def _below(frame: Frame, x_label: str) -> Markup:
    """The words of the ticks and of the axis."""
    bottom, x_axis = frame.y_axis.start, frame.x_axis
    words = Markup("").join(centred(x_axis(t), bottom + 16, x_axis.words(t)) for t in x_axis.ticks)
    return words + centred((x_axis.start + x_axis.end) / 2, bottom + 32, x_label)


def _inside(panel: Panel, first: Panel | None, frame: Frame) -> Markup:
    """The first panel's lines in grey, then faintly the seeds, then the panel's own."""
    x_axis, y_axis = frame.x_axis, frame.y_axis
    drawn = Markup("")
    if first is not None:
        drawn += Markup("").join(_way(points, frame, "reference") for points in first.lines)
    views = zip(panel.lines, panel.by_seed, panel.whiskers, strict=True)
    for j, (mean, seeds, whiskers) in enumerate(views, 1):
        if len(seeds) > 1:
            drawn += Markup("").join(_way(points, frame, f"seed s{j}") for points in seeds)
        for x, low, high in whiskers:
            if isfinite(low) and isfinite(high):
                drawn += line(x_axis(x), y_axis(low), x_axis(x), y_axis(high), f"whisker thin s{j}")
        drawn += _way(mean, frame, f"curve s{j}")
        drawn += Markup("").join(_small_dot(x_axis(x), y_axis(y), j) for x, y in _known(mean))
    return drawn


def _small_dot(x: float, y: float, series: int) -> Markup:
    return element("circle", {"cx": x, "cy": y, "r": 2, "class": f"mark s{series}"})


def _way(points: Points, frame: Frame, style: str) -> Markup:
    """A line through the points that are finite."""
    known = evenly(_known(points), MOST_POINTS)
    places = " ".join(f"{frame.x_axis(x):.1f},{frame.y_axis(y):.1f}" for x, y in known)
    return element("polyline", {"points": places, "class": style}) if places else Markup("")


def _in_words(panel: Panel, told: Callable[[float], str]) -> str:
    """Where the lines begin and end."""
    parts = []
    for view, points in zip(VIEWS.values(), panel.lines, strict=True):
        known = _known(points)
        if known:
            (x0, y0), (x1, y1) = known[0], known[-1]
            parts.append(f"{view} {number(y0)} at {told(x0)}, {number(y1)} at {told(x1)}")
    return ", ".join(parts)
