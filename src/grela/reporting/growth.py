"""How quantities grow with a length, as one SVG file: panels on logarithmic axes, two abreast, with one legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import ceil, floor, isfinite, log10

from markupsafe import Markup

from grela.errors import RequestError
from grela.reporting.svg import CHARACTER, WIDTH, Axis, element, label, line
from grela.reporting.text import clip, count

SERIES = 6
COLUMNS, GAP, MARGIN = 2, 32.0, 14.0
HEAD, HEIGHT, FOOT = 48.0, 210.0, 50.0  # of a panel: title and unit, the field, ticks and what they count
TICKS, NAMED = 5, 7  # at most, upright and level


@dataclass(frozen=True)
class Point:
    """A value at a length, and the least and greatest of its repeats; all positive."""

    length: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """What is drawn as one line in every panel that has its name."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Panel:
    """One field; `y_label` says what the upright axis measures, and in which unit."""

    title: str
    y_label: str
    x_label: str
    lines: Sequence[Line]


def drawing(panels: Sequence[Panel], *, title: str, notes: Sequence[str] = ()) -> str:
    """The file's text. Lines of one name look alike in all panels; panels without a point are left out.

    Raises RequestError where nothing can be drawn, a value is not positive, or names are more than `SERIES`.
    """
    shown = [panel for panel in panels if any(one.points for one in panel.lines)]
    names = list(dict.fromkeys(one.name for panel in shown for one in panel.lines))
    if not shown or len(names) > SERIES:
        raise RequestError(
            f"got {len(shown)} panels of {len(names)} names, expected 1 or more of up to {SERIES}"
        )
    _must_be_positive(shown)
    step_x, step_y = WIDTH + GAP, HEAD + HEIGHT + FOOT
    columns = min(COLUMNS, len(shown))
    width = 2 * MARGIN + step_x * columns - GAP
    signs, top = _legend(names, width)
    drawn = [signs]
    for j, panel in enumerate(shown):
        drawn.append(
            _moved(_panel(panel, names), MARGIN + step_x * (j % columns), top + step_y * (j // columns))
        )
    bottom = top + step_y * ceil(len(shown) / columns)
    for note in notes:
        drawn.append(label(MARGIN, bottom + 12, clip(note, int(width / CHARACTER)), style="quiet"))
        bottom += 18
    return _file(title, _words(shown), width, bottom + MARGIN, drawn)


def _file(title: str, words: str, width: float, height: float, drawn: Sequence[Markup]) -> str:
    style = files("grela.reporting").joinpath("templates/drawing.css").read_text(encoding="utf-8")
    attributes: dict[str, str | float] = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {width:g} {height:g}",
        "width": width,
        "height": height,
        "role": "img",
        "aria-labelledby": "title description",
    }
    children = (
        element("title", {"id": "title"}, title),
        element("desc", {"id": "description"}, words),
        element("style", {}, Markup(style)),  # noqa: S704 - our own file, of no text from outside
        element("rect", {"width": width, "height": height, "class": "ground"}),
        *drawn,
    )
    return str(element("svg", attributes, *children)) + "\n"


def _panel(panel: Panel, names: Sequence[str]) -> Markup:
    """A panel whose left upper corner is the origin."""
    points = [point for one in panel.lines for point in one.points]
    y_ticks = _steps([v for p in points for v in (p.low, p.value, p.high)])
    lengths = sorted({p.length for p in points})
    x_ticks = lengths[:: _stride(len(lengths))]
    left = 14 + CHARACTER * max(len(_tick(t)) for t in y_ticks)
    bottom, right = HEAD + HEIGHT, WIDTH - CHARACTER * len(_tick(lengths[-1])) / 2
    across = _log_axis(lengths[0], lengths[-1], left + 8, right)
    up = _log_axis(y_ticks[0], y_ticks[-1], bottom, HEAD)
    drawn = [
        label(0, 14, panel.title, style="title"),
        label(0, 32, panel.y_label, style="quiet"),
        label((left + right) / 2, bottom + 36, panel.x_label, anchor="middle", style="quiet"),
    ]
    for tick in y_ticks:
        y = up(log10(tick))
        drawn += [
            line(left, y, WIDTH, y, "grid"),
            label(left - 6, y + 4, _tick(tick), anchor="end", style="quiet"),
        ]
    for tick in x_ticks:
        x = across(log10(tick))
        drawn.append(line(x, HEAD, x, bottom, "grid"))
        drawn.append(label(x, bottom + 18, _tick(tick), anchor="middle", style="quiet"))
    for one in panel.lines:
        drawn.append(_line(one, names.index(one.name) + 1, across, up))
    return Markup("").join(drawn)


def _line(one: Line, series: int, across: Axis, up: Axis) -> Markup:
    drawn = Markup("")
    places = [(across(log10(p.length)), up(log10(p.value))) for p in one.points]
    if len(places) > 1:
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn += element("polyline", {"points": way, "class": f"curve s{series}"})
    for point, (x, y) in zip(one.points, places, strict=True):
        drawn += line(x, up(log10(point.low)), x, up(log10(point.high)), f"whisker s{series}")
        drawn += _mark(x, y, series)
    return drawn


def _mark(x: float, y: float, series: int) -> Markup:
    """A circle, square, triangle, diamond, hanging triangle or bar."""
    style = f"mark s{series}"
    if series == 1:
        return element("circle", {"cx": x, "cy": y, "r": 4, "class": style})
    corners = {
        2: ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)),
        3: ((0, -5), (4.5, 3.5), (-4.5, 3.5)),
        4: ((0, -5), (5, 0), (0, 5), (-5, 0)),
        5: ((0, 5), (4.5, -3.5), (-4.5, -3.5)),
        6: ((-5, -2), (5, -2), (5, 2), (-5, 2)),
    }[series]
    places = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return element("polygon", {"points": places, "class": style})


def _legend(names: Sequence[str], width: float) -> tuple[Markup, float]:
    """Signs and names from left to right, wrapped; and where the panels may begin."""
    drawn, x, y = Markup(""), MARGIN, 2 * MARGIN
    for series, name in enumerate(names, start=1):
        words = clip(name, 40)
        taken = 56 + CHARACTER * len(words)
        if x > MARGIN and x + taken > width:
            x, y = MARGIN, y + 20
        drawn += _moved(line(0, 0, 30, 0, f"curve s{series}") + _mark(15, 0, series), x, y)
        drawn += label(x + 36, y + 4, words)
        x += taken
    return drawn, y + 24


def _moved(drawn: Markup, x: float, y: float) -> Markup:
    return element("g", {"transform": f"translate({x:.1f} {y:.1f})"}, drawn)


def _log_axis(low: float, high: float, start: float, end: float) -> Axis:
    """An axis of logarithms; half an octave to both sides of a single value."""
    a, b = log10(low), log10(high)
    return Axis(a, b, start, end, ()) if b > a else Axis(a - 0.15, b + 0.15, start, end, ())


def _steps(values: Sequence[float]) -> list[float]:
    """Ticks from the last at or below the least value to the first at or above the greatest.

    1, 2, 5, 10 ... where those are few, else powers of ten.
    """
    low, high = min(values), max(values)
    first, last = floor(log10(low)), ceil(log10(high) + 1e-9)
    for factors in ((1, 2, 5), (1,)):
        every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        below = max(step for step in every if step <= low * (1 + 1e-9))
        above = min(step for step in every if step >= high * (1 - 1e-9) and step > below)
        ticks = [step for step in every if below <= step <= above]
        if len(ticks) <= TICKS + 1:
            break
    return ticks


def _stride(lengths: int) -> int:
    """Which lengths are named: every one, second or third, with the last where that comes out, else as room allows."""
    fewest = max(1, ceil((lengths - 1) / (NAMED - 1)))
    return next((n for n in range(fewest, 4) if (lengths - 1) % n == 0), fewest)


def _tick(value: float) -> str:
    return count(int(value)) if value >= 1 else f"{value:.6g}"


def _words(panels: Sequence[Panel]) -> str:
    """What the drawing shows, for those who cannot see it."""
    said = []
    for panel in panels:
        ends = [
            f"{one.name} {one.points[0].value:.3g} at {_tick(one.points[0].length)} and "
            f"{one.points[-1].value:.3g} at {_tick(one.points[-1].length)}"
            for one in panel.lines
            if one.points
        ]
        said.append(f"{panel.title}, {panel.y_label}, by {panel.x_label}: {'; '.join(ends)}")
    return ". ".join(said)


def _must_be_positive(panels: Sequence[Panel]) -> None:
    for panel in panels:
        for one in panel.lines:
            for point in one.points:
                if not all(isfinite(v) and v > 0 for v in (point.length, point.value, point.low, point.high)):
                    raise RequestError(
                        f"{panel.title}, {one.name}: {point}; a logarithmic axis has room for positive numbers only"
                    )
