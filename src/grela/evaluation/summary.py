"""Estimates of a set of statistics, with their intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from grela.evaluation.intervals import Interval, Ratio, intervals


@dataclass(frozen=True)
class Summary:
    """Values by metric, and 95 % intervals by metric; NaN where a statistic is not defined."""

    values: dict[str, float]
    intervals: dict[str, Interval]


def summarise(by_view: Mapping[str, Mapping[str, Ratio]], *, resamples: int, seed: int) -> dict[str, Summary]:
    """Estimate every statistic of every view on all users, and on resampled users that the views share."""
    flat = {(view, name): ratio for view, statistics in by_view.items() for name, ratio in statistics.items()}
    found = intervals(flat, resamples=resamples, seed=seed)
    return {
        view: Summary(
            {name: ratio.value for name, ratio in statistics.items()},
            {name: found[view, name] for name in statistics},
        )
        for view, statistics in by_view.items()
    }


def json_number(value: float) -> float | None:
    """The value, or None for NaN, which JSON has no word for."""
    return None if math.isnan(value) else value


def json_numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """Values by name, ready for JSON."""
    return {name: json_number(value) for name, value in values.items()}


def json_intervals(found: Mapping[str, Interval]) -> dict[str, list[float | None]]:
    """`[low, high]` by name, ready for JSON."""
    return {name: [json_number(low), json_number(high)] for name, (low, high) in found.items()}
