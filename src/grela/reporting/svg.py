"""The few parts that the charts are drawn of: escaped elements, axes, marks, a legend.

Colours come from the page's style by class (`s1` to `s4` for series), so that they follow light and dark.
Lengths are in units of the view box, `WIDTH` across; a character of 12 units is about `CHARACTER` wide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Protocol

from markupsafe import Markup

WIDTH = 400.0
CHARACTER = 7.4


def element(name: str, attributes: Mapping[str, str | float], *children: str) -> Markup:
    """One element; attribute values and plain texts are escaped, numbers rounded to a tenth of a unit."""
    written = Markup("").join(Markup(' {}="{}"').format(k, _plain(v)) for k, v in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(children))


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def picture(key: str, title: str, description: str, height: float, *children: str) -> Markup:
    """A whole drawing with its name and what it shows in words, for those who cannot see it."""
    named = {"role": "img", "aria-labelledby": f"{key}-title {key}-description"}
    return element(
        "svg",
        {"viewBox": f"0 0 {WIDTH:g} {height:g}", **named},
        element("title", {"id": f"{key}-title"}, title),
        element("desc", {"id": f"{key}-description"}, description),
        *children,
    )


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": style})


def label(x: float, y: float, words: str, *, anchor: str = "start", style: str = "") -> Markup:
    """A text whose baseline starts, has its middle or ends at (x, y)."""
    return element("text", {"x": x, "y": y, "text-anchor": anchor, "class": style}, words)


def centred(x: float, y: float, words: str) -> Markup:
    """A quiet text whose middle is at x, or as near as the picture's right edge allows."""
    return label(min(x, WIDTH - CHARACTER * len(words) / 2), y, words, anchor="middle", style="quiet")


def dot(x: float, y: float, series: int) -> Markup:
    """A mark of series 1 (a filled circle) or 2 (a hollow diamond): told apart by shape as well as colour."""
    if series == 1:
        return element("circle", {"cx": x, "cy": y, "r": 4, "class": "mark s1"})
    corners = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}"
    return element("polygon", {"points": corners, "class": "mark hollow s2"})


def legend(entries: Sequence[tuple[Markup, str]], y: float) -> tuple[Markup, float]:
    """Signs (24 wide, drawn around their own origin) with their words, wrapped; and the height taken."""
    placed, x, top = Markup(""), 0.0, y
    for sign, words in entries:
        width = 36 + CHARACTER * len(words)
        if x and x + width > WIDTH:
            x, y = 0.0, y + 18
        placed += element("g", {"transform": f"translate({x + 12:.1f} {y + 8:.1f})"}, sign)
        placed += label(x + 28, y + 12, words)
        x += width
    return placed, y + 18 - top if entries else 0.0


class Scale(Protocol):
    """A map of values onto `start..end`, with the ticks it is read by and their words."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def ticks(self) -> tuple[float, ...]: ...
    def __call__(self, value: float) -> float: ...
    def words(self, tick: float) -> str: ...


def grid_y(scale: Scale, left: float, right: float = WIDTH - 10) -> Markup:
    """Level lines at the ticks, with their words before them."""
    drawn = Markup("")
    for tick in scale.ticks:
        y = scale(tick)
        drawn += line(left, y, right, y, "grid")
        drawn += label(left - 6, y + 4, scale.words(tick), anchor="end", style="quiet")
    return drawn


def ticks_x(scale: Scale, bottom: float, name: str) -> Markup:
    """The words of the ticks below the picture, and what they count."""
    drawn = centred((scale.start + scale.end) / 2, bottom + 32, name)
    for tick in scale.ticks:
        drawn += centred(scale(tick), bottom + 16, scale.words(tick))
    return drawn


def interval(estimate: tuple[float, float, float], scale: Scale, y: float, series: int) -> Markup:
    """A mark at the value, a whisker from low to high; nothing of what is not finite."""
    value, low, high = estimate
    if not isfinite(value):
        return Markup("")
    drawn = Markup("")
    if isfinite(low) and isfinite(high):
        drawn += line(scale(low), y, scale(high), y, f"whisker s{series}")
    return drawn + dot(scale(value), y, series)


@dataclass(frozen=True)
class Axis:
    """A linear map of `low..high` onto `start..end`, with its ticks at round values."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def words(self, tick: float) -> str:
        """A tick as text, with as many decimals as its neighbours need."""
        step = self.ticks[1] - self.ticks[0]
        if max(abs(self.low), abs(self.high)) >= 1e5 or step < 1e-4:
            return f"{tick:.2g}"
        return f"{tick:.{max(0, -floor(log10(step) + 1e-9))}f}".replace("-", "−")


def round_axis(values: Sequence[float], *, start: float, end: float) -> Axis:
    """An axis that spans the finite values, out to the next round ticks; around a single value a tenth of it."""
    low, high = _span(values)
    if high - low <= 1e-9 * abs(high):
        low, high = (high - abs(high) / 10, high + abs(high) / 10) if high else (0.0, 1.0)
    step = _round_step((high - low) / 4)
    first, last = floor(low / step + 1e-9), -floor(-high / step + 1e-9)
    ticks = tuple(step * j for j in range(first, max(last, first + 1) + 1))
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def whole_axis(values: Sequence[float], *, start: float, end: float) -> Axis:
    """An axis that ends where the finite values end, with ticks at integers only: epochs."""
    low, high = _span(values)
    if high - low < 1:
        low, high = floor(low) - 1.0, floor(low) + 1.0
    step = max(1.0, _round_step((high - low) / 5))
    first, last = -floor(-low / step + 1e-9), floor(high / step + 1e-9)
    return Axis(low, high, start, end, tuple(step * j for j in range(first, last + 1)))


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest finite value; 0 and 0 where there is none."""
    finite = [float(v) for v in values if isfinite(v)] or [0.0]
    return min(finite), max(finite)


def _round_step(rough: float) -> float:
    """The least 1, 2 or 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** floor(log10(rough))
    return next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
