"""Scales that are not linear: logarithmic, for what costs; named places, for groups in their order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, isfinite, log10

from grela.reporting.svg import CHARACTER

GAP = 6.0


@dataclass(frozen=True)
class LogAxis:
    """A map of `low..high`, both positive, onto `start..end` by the logarithm."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        share = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return self.start + share * (self.end - self.start)

    def words(self, tick: float) -> str:
        """A tick as text, with separators of thousands."""
        return f"{tick:,.6g}"


@dataclass(frozen=True)
class Places:
    """Names at even distances from `start` to `end`; a single one in the middle."""

    names: Sequence[str]
    start: float
    end: float

    @property
    def ticks(self) -> tuple[float, ...]:
        return tuple(float(j) for j in range(len(self.names)))

    def __call__(self, value: float) -> float:
        share = value / (len(self.names) - 1) if len(self.names) > 1 else 0.5
        return self.start + share * (self.end - self.start)

    def words(self, tick: float) -> str:
        """The name of a place."""
        return self.names[int(tick)]


def log_axis(values: Sequence[float], *, start: float, end: float) -> LogAxis:
    """A logarithmic axis out to the next 1, 2 or 5 on both sides, with as many ticks as have room for their words.

    Raises ValueError where no value is finite and positive.
    """
    known = [value for value in values if isfinite(value) and value > 0]
    if not known:
        raise ValueError(f"no positive value among {len(values)}: a logarithmic axis has nothing to show")
    steps = list(_steps(min(known), max(known)))
    axis = LogAxis(steps[0], steps[-1], start, end, ())
    choices = [steps]
    powers = [step for step in steps if abs(log10(step) - round(log10(step))) < 1e-9]
    choices += [powers[::every] for every in (1, 2, 3, 4) if len(powers[::every]) > 1]
    choices.append([steps[0], steps[-1]])
    fitting = next((ticks for ticks in choices if _has_room(axis, ticks)), choices[-1])
    return LogAxis(axis.low, axis.high, start, end, tuple(fitting))


def _steps(low: float, high: float) -> Iterator[float]:
    """1, 2, 5, 10 ... from the last at or below `low` to the first at or above `high`; two at least."""
    first, last = floor(log10(low) + 1e-9), floor(log10(high) + 1e-9) + 1
    every = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in (1, 2, 5)]
    below = max(step for step in every if step <= low * (1 + 1e-9))
    above = min(step for step in every if step >= high * (1 - 1e-9) and step > below)
    yield from (step for step in every if below <= step <= above)


def _has_room(axis: LogAxis, ticks: Sequence[float]) -> bool:
    half = [CHARACTER * len(axis.words(tick)) / 2 for tick in ticks]
    places = [(axis(tick) - h, axis(tick) + h) for tick, h in zip(ticks, half, strict=True)]
    return all(left[1] + GAP <= right[0] for left, right in pairwise(places))
