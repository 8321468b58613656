"""How values become words and numbers on the page."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from numbers import Integral, Real
from statistics import median
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from grela.reporting.report import Curve, Estimate, LayerRank

T = TypeVar("T")

MISSING = "—"
VIEWS = {"filtered": "seen items filtered", "unfiltered": "not filtered"}
LONGEST_TITLE = 160
LONGEST_NAME = 24
MOST_ROWS = 100

# HTML forbids the control characters; each is shown by its picture (U+2400 onwards) or by U+FFFD.
_PICTURES = (
    {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"}
    | {0x7F: 0x2421}
    | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
    | dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)  # lone surrogates, which UTF-8 cannot hold
    | {0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}
)


def with_visible_controls(page: str) -> str:
    """The same text with every character that HTML or UTF-8 forbids replaced by a visible sign."""
    return page.translate(_PICTURES)


def number(value: float | None, digits: int = 4) -> str:
    """A fixed-point number; a dash where there is none or it is not finite."""
    if value is None or not isfinite(value):
        return MISSING
    if abs(value) >= 1e6:
        return f"{value:.3e}"
    return f"{value:.{digits}f}".replace("-", "−")


def bounds(estimate: "Estimate") -> str:
    """The interval of an estimate, "0.1989–0.2155"; empty where no interval applies."""
    _, low, high = estimate
    return f"{number(low)}–{number(high)}" if isfinite(low) and isfinite(high) else ""


def count(value: int) -> str:
    """An integer with separators of thousands."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A number of things, "1 seed" or "3 seeds"."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def signed(value: float) -> str:
    """A number with its sign, unless it is zero as it is written."""
    words = number(value)
    if not words.strip("−0."):
        return words.removeprefix("−")
    return f"+{words}" if value > 0 else words


def significant(value: float) -> str:
    """Three significant digits, with separators of thousands; a dash where it is not finite."""
    if not isfinite(value):
        return MISSING
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


def duration(seconds: float) -> str:
    """As "0.37 s", "45 s", "3 min 5 s", "20 min" or "2 h 7 min"."""
    if not isfinite(seconds):
        return MISSING
    whole = round(seconds)
    if whole < 10:
        return f"{significant(seconds)} s"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    parts = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def spread(values: Sequence[int]) -> str:
    """One number where all agree, else the least and the greatest, "22–24"."""
    low, high = min(values), max(values)
    return count(low) if low == high else f"{count(low)}–{count(high)}"


def whole(value: float) -> str:
    """A number that counts things, to the next integer; a dash where it is not finite."""
    return count(round(value)) if isfinite(value) else MISSING


def megabytes(size: float) -> str:
    """Bytes in megabytes of 10^6."""
    return f"{size / 1e6:,.0f} MB" if isfinite(size) else MISSING


def percent(share: float) -> str:
    """A share of 1 in per cent, one decimal."""
    return f"{number(100 * share, 1)} %" if isfinite(share) else MISSING


def fact(value: object) -> str:
    """A fact's value: integers with separators, other numbers in six digits, anything else as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return count(int(value))
    if isinstance(value, Real):
        return f"{float(value):.6g}" if isfinite(value) else MISSING
    return str(value)


def clip(title: str, most: int = LONGEST_TITLE) -> str:
    """A title of at most `most` characters; one that shows nothing says so."""
    if not title.strip():
        return "(no title)"
    return title if len(title) <= most else title[: most - 1] + "…"


def name(words: str, most: int = LONGEST_NAME) -> str:
    """A model's name within a sentence or a picture.

    A name too long loses the model before its recipe ("…:without-local-branch"), and then its middle. It is isolated
    where its direction may differ.
    """
    words = clip(words, len(words))
    if len(words) > most:
        _, colon, recipe = words.partition(":")
        words = f"…:{recipe}" if colon else words
    if len(words) > most:
        words = f"{words[: most // 2]}…{words[most // 2 + 1 - most :]}"
    return words if words.isascii() else f"\u2068{words}\u2069"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "a", "a and b", "a, b and c"."""
    *first, last = map(name, names)
    return f"{', '.join(first)} and {last}" if first else last


def settings(tree: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as rows (dotted name, value), in its own order."""
    rows = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += settings(value, f"{name}.")
        else:
            rows.append((name, _setting(value)))
    return rows


def _setting(value: object) -> str:
    """A setting as JSON writes it, strings without their quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.12g}" if isfinite(value) else MISSING
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_setting(v) for v in value) + "]"
    return str(value)


def curve_table(curves: Sequence["Curve"]) -> tuple[list[tuple[float, list[float | None]]], int]:
    """Rows (x, the y of each curve or None), at most `MOST_ROWS` evenly chosen, and how many there are in all."""
    points = [dict(zip(curve.x, curve.y, strict=True)) for curve in curves]
    xs = sorted({x for line in points for x in line if isfinite(x)})
    return [(x, [line.get(x) for line in points]) for x in evenly(xs, MOST_ROWS)], len(xs)


def evenly(values: Sequence[T], most: int) -> list[T]:
    """All values, or `most` (2 or more) of them evenly spaced with the first and the last."""
    if len(values) <= most:
        return list(values)
    last = len(values) - 1
    return [values[round(j * last / (most - 1))] for j in range(most)]


def verdict(estimate: "Estimate", floor: float | None) -> str:
    """How an estimate stands against what popularity alone reaches, no bolder than its interval allows."""
    if floor is None or not isfinite(floor):
        return "popularity not measured"
    value, low, _ = estimate
    if not isfinite(value):
        return f"popularity floor {number(floor)}"
    if value < floor:
        return f"below the popularity floor {number(floor)}"
    if isfinite(low) and low <= floor:
        return f"not clearly above the popularity floor {number(floor)}"
    times = f"{value / floor:.1f} times " if floor > 0 else "above "
    return f"{times}the popularity floor {number(floor)}"


def medians(ranks: Sequence["LayerRank"]) -> tuple[float, float] | None:
    """Median effective rank over all heads, without and with the local branch; None where none is finite."""
    known = [r for r in ranks if isfinite(r.without_local) and isfinite(r.with_local)]
    if not known:
        return None
    return median(r.without_local for r in known), median(r.with_local for r in known)


FILTERS: dict[str, Callable[..., object]] = {
    "number": number,
    "bounds": bounds,
    "thousands": count,
    "counted": counted,
    "signed": signed,
    "significant": significant,
    "duration": duration,
    "megabytes": megabytes,
    "spread": spread,
    "whole": whole,
    "percent": percent,
    "fact": fact,
    "clip": clip,
    "name": name,
    "settings": settings,
}
