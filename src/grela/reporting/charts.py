"""The four charts of the report as inline SVG. Each returns "" where there is nothing to draw."""

from collections.abc import Sequence
from math import isfinite, log10
from typing import TYPE_CHECKING

from markupsafe import Markup

from grela.reporting.svg import (
    CHARACTER,
    WIDTH,
    Axis,
    centred,
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
    whole_axis,
)
from grela.reporting.text import clip, count, evenly, number, percent

if TYPE_CHECKING:
    from grela.reporting.report import Curve, LayerRank, LayerShare, LengthBucket

MOST_POINTS = 300
MOST_DOTS = 30


def lines(
    key: str, title: str, curves: Sequence["Curve"], *, y_label: str, best: int | None = None
) -> Markup:
    """Curves over epochs; `best` is marked by an upright line."""
    points = [[(x, y) for x, y in zip(c.x, c.y, strict=True) if isfinite(x)] for c in curves]
    heights = [y for curve in points for _, y in curve if isfinite(y)]
    if not heights:
        return Markup("")
    signs, top = legend(
        [(line(-12, 0, 12, 0, f"curve {_series(j)}"), clip(c.name, 40)) for j, c in enumerate(curves)], 0
    )
    bottom = top + 200.0
    y_axis = round_axis(heights, start=bottom, end=top + 22)
    left = 12 + CHARACTER * max(len(y_axis.words(t)) for t in y_axis.ticks)
    x_axis = whole_axis([x for curve in points for x, _ in curve], start=left, end=WIDTH - 10)
    drawn = [
        grid_y(y_axis, left),
        label(0, top + 12, y_label, style="quiet"),
        ticks_x(x_axis, bottom, "epoch"),
    ]
    if best is not None and x_axis.low <= best <= x_axis.high:
        x = x_axis(best)
        anchor, shift = ("end", -5) if x > WIDTH / 2 else ("start", 5)
        drawn += [
            line(x, top + 22, x, bottom, "bound"),
            label(x + shift, bottom - 6, f"best: epoch {best}", anchor=anchor),
        ]
    drawn += [_curve(p, x_axis, y_axis, _series(j)) for j, p in enumerate(points)]
    words = ". ".join(_course(c) for c in curves)
    return picture(key, title, words, bottom + 36, signs, *drawn)


def _series(j: int) -> str:
    return f"s{j % 4 + 1}"


def _course(curve: "Curve") -> str:
    """A curve in words: where it starts, its extremes, where it ends."""
    known = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if isfinite(x) and isfinite(y)]
    if not known:
        return f"{curve.name}: no finite value"
    (x0, y0), (x1, y1) = known[0], known[-1]
    low, high = min(y for _, y in known), max(y for _, y in known)
    return (
        f"{curve.name}: {number(y0)} at epoch {x0:g}, {number(y1)} at epoch {x1:g}, "
        f"lowest {number(low)}, highest {number(high)}"
    )


def _curve(points: Sequence[tuple[float, float]], x_axis: Axis, y_axis: Axis, style: str) -> Markup:
    """The line through the finite points, broken at the others; dots where there are few."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in evenly(points, MOST_POINTS):
        if isfinite(y):
            runs[-1].append((x_axis(x), y_axis(y)))
        elif runs[-1]:
            runs.append([])
    drawn = Markup("")
    for run in runs:
        if len(run) > 1:
            way = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            drawn += element("polyline", {"points": way, "class": f"curve {style}"})
        if len(points) <= MOST_DOTS or len(run) == 1:
            for x, y in run:
                drawn += element("circle", {"cx": x, "cy": y, "r": 2.5, "class": f"mark {style}"})
    return drawn


def intervals(key: str, title: str, buckets: Sequence["LengthBucket"]) -> Markup:
    """One row for each bucket: value and interval, seen items filtered and not."""
    values = [v for b in buckets for v in (*b.filtered, *b.unfiltered) if isfinite(v)]
    if not values:
        return Markup("")
    signs, top = legend([(dot(0, 0, 1), "seen items filtered"), (dot(0, 0, 2), "not filtered")], 0)
    top, row = top + 8, 40.0
    bottom = top + row * len(buckets)
    left = 14 + CHARACTER * max(max(len(clip(b.label, 18)), len(_users(b))) for b in buckets)
    axis = round_axis([0.0, *values], start=left, end=WIDTH - 14)
    drawn = [ticks_x(axis, bottom, "NDCG@10")]
    drawn += [line(axis(t), top, axis(t), bottom, "grid") for t in axis.ticks]
    for j, bucket in enumerate(buckets):
        y = top + row * (j + 0.5)
        drawn += [label(0, y - 2, clip(bucket.label, 18)), label(0, y + 13, _users(bucket), style="quiet")]
        drawn += [interval(bucket.filtered, axis, y - 7, 1), interval(bucket.unfiltered, axis, y + 7, 2)]
    words = "; ".join(
        f"{b.label} ({_users(b)}): {number(b.filtered[0])} filtered, {number(b.unfiltered[0])} not"
        for b in buckets
    )
    return picture(key, title, words, bottom + 36, signs, *drawn)


def _users(bucket: "LengthBucket") -> str:
    return f"{count(bucket.users)} user{'' if bucket.users == 1 else 's'}"


def stacked_shares(key: str, title: str, shares: Sequence["LayerShare"]) -> Markup:
    """One bar for each layer: the local branch's share from the left, the attention's from the right."""
    if not shares:
        return Markup("")
    entries = [(_block(-12, -6, 24, 12, j), words) for j, words in ((1, "local branch"), (2, "attention"))]
    signs, top = legend(entries, 0)
    top, row, left, right = top + 8, 30.0, 112.0, WIDTH - 58
    drawn = []
    for j, share in enumerate(shares):
        y = top + row * j
        drawn += [label(0, y + 15, f"layer {share.layer}")]
        drawn += [label(left - 6, y + 15, percent(share.local), anchor="end")]
        drawn += [label(right + 6, y + 15, percent(share.attention))]
        if isfinite(share.local) and isfinite(share.attention):
            middle = left + min(max(share.local, 0.0), 1.0) * (right - left)
            drawn += [_block(left, y, middle - left, 22, 1), _block(middle, y, right - middle, 22, 2)]
    words = "; ".join(
        f"layer {s.layer}: {percent(s.local)} local branch, {percent(s.attention)} attention" for s in shares
    )
    return picture(key, title, words, top + row * len(shares), signs, *drawn)


def _block(x: float, y: float, width: float, height: float, series: int) -> Markup:
    return element("rect", {"x": x, "y": y, "width": width, "height": height, "class": f"bar s{series}"})


def paired_ranks(key: str, title: str, ranks: Sequence["LayerRank"]) -> Markup:
    """One row for each head on a logarithmic scale: without the local branch and with it."""
    known = [v for r in ranks for v in (r.without_local, r.with_local) if isfinite(v)]
    if not known:
        return Markup("")
    entries = [(dot(0, 0, 2), "without the local branch"), (dot(0, 0, 1), "with it")]
    signs, top = legend(entries, 0)
    top, row = top + 24, 20.0
    left = 12 + CHARACTER * max(len(_head(r)) for r in ranks)
    bottom = top + row * len(ranks)
    most = max(2.0, *known, *(float(r.positions) for r in ranks))
    axis = Axis(0.0, log10(most), left, WIDTH - 28, (0.0, 1.0))
    drawn = [_decades(axis, top, bottom), _bounds(ranks, axis, top, bottom)]
    for j, rank in enumerate(ranks):
        y = top + row * (j + 0.5)
        drawn.append(label(0, y + 4, _head(rank)))
        drawn.append(_pair(rank, axis, y))
    words = "; ".join(
        f"layer {r.layer} head {r.head}: {number(r.without_local, 1)} without, {number(r.with_local, 1)} with"
        for r in ranks
    )
    return picture(key, title, words, bottom + 36, signs, *drawn)


def _head(rank: "LayerRank") -> str:
    return f"layer {rank.layer}, head {rank.head}"


def _pair(rank: "LayerRank", axis: Axis, y: float) -> Markup:
    ends = ((rank.without_local, 2), (rank.with_local, 1))
    places = [(axis(log10(max(v, 1.0))), series) for v, series in ends if isfinite(v)]
    drawn = Markup("")
    if len(places) == 2:
        drawn += line(places[0][0], y, places[1][0], y, "link")
    return drawn + Markup("").join(dot(x, y, series) for x, series in places)


def _decades(axis: Axis, top: float, bottom: float) -> Markup:
    """Grid and ticks at 1, 2, 5, 10, ... of a logarithmic axis; at powers of ten alone where it is long."""
    drawn = centred((axis.start + axis.end) / 2, bottom + 32, "effective rank (log scale)")
    factors = (1, 2, 5) if axis.high < 2.7 else (1,)
    for power in range(int(axis.high) + 1):
        for factor in factors:
            place = power + log10(factor)
            if place <= axis.high:
                drawn += line(axis(place), top, axis(place), bottom, "grid")
                drawn += centred(axis(place), bottom + 16, count(factor * 10**power))
    return drawn


def _bounds(ranks: Sequence["LayerRank"], axis: Axis, top: float, bottom: float) -> Markup:
    """Upright lines at d and T, where all heads have the same."""
    drawn = Markup("")
    widths, positions = {r.head_width for r in ranks}, {r.positions for r in ranks}
    for name, values, anchor in (("d", widths, "start"), ("T", positions, "end")):
        if len(values) == 1 and 1 <= (value := min(values)) <= 10**axis.high * 1.001:
            x = axis(log10(value))
            drawn += line(x, top, x, bottom, "bound")
            drawn += label(x, top - 6, f"{name} = {count(value)}", anchor=anchor)
    return drawn
