"""What measurements at many lengths say: exponents, whether a cost per event stays put, tables. Arithmetic and text.

A curve is what one model's one quantity was at each length, in each repeat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

from comparison import Spread, markdown, not_quiet, spread

FROM = 1_024  # lengths below are ruled by what a call costs at any length
STEADY = 0.10  # how far a cost per event may be from what it is at the first of those lengths

WHATS = {"pass": "forward and backward", "step": "streaming step"}

Curve = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Quantity:
    """What is shown of a case: its name, which measurement and which of its figures; a unit and its scale.

    What a pass takes is shown by position; exponents are of the whole.
    """

    name: str
    what: str
    key: str
    unit: str
    scale: float

    @property
    def by_position(self) -> bool:
        return self.what == "pass"

    @property
    def timed(self) -> bool:
        """Whether it is a time, which changes with what else the machine does."""
        return self.key.endswith("seconds")

    def __str__(self) -> str:
        return f"{WHATS[self.what]}, {self.name}"


@dataclass(frozen=True)
class Steadiness:
    """A cost per event relative to that at `FROM`: the lowest and the highest of longer lengths, and at which."""

    low: float
    low_at: int
    high: float
    high_at: int

    @property
    def within(self) -> bool:
        """Whether all are no further than `STEADY` from 1."""
        return self.low >= 1 - STEADY and self.high <= 1 + STEADY


def quantities(device: str) -> list[Quantity]:
    """What is shown of a device. On the CPU time is processor time, which other processes disturb least."""
    seconds = "cpu_seconds" if device == "cpu" else "wall_seconds"
    clock = "processor time" if device == "cpu" else "time"
    return [
        Quantity(f"{clock} of a position", "pass", seconds, "µs", 1e6),
        Quantity("peak memory of a position", "pass", "peak_bytes", "kB", 1e-3),
        Quantity(f"{clock} of a step", "step", seconds, "µs", 1e6),
        Quantity("state kept between steps", "step", "state_bytes", "kB", 1e-3),
    ]


def slope(lengths: Sequence[float], values: Sequence[float]) -> float:
    """The exponent of the power law that fits best: least squares of log value by log length."""
    x, y = [log(length) for length in lengths], [log(value) for value in values]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - middle_x) ** 2 for a in x)


def exponent(curve: Curve) -> Spread | None:
    """Of each repeat's own fit from `FROM` up: the middle, the least and the greatest; None below two lengths."""
    long = {length: values for length, values in curve.items() if length >= FROM}
    repeats = max((len(values) for values in long.values()), default=0)
    fits = []
    for repeat in range(repeats):
        here = {n: v[repeat] for n, v in long.items() if len(v) > repeat and v[repeat] > 0}
        if len(here) >= 2:
            fits.append(slope(list(here), list(here.values())))
    return spread(fits) if fits else None


def steadiness(ratios: Curve) -> Steadiness | None:
    """Of medians of what a cost per event is, relative to that at `FROM`; None where no length is longer."""
    medians = {n: spread(v).median for n, v in sorted(ratios.items()) if n > FROM and v}
    if not medians:
        return None
    low, high = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    return Steadiness(medians[low], low, medians[high], high)


def curve_of(records: Sequence[Mapping[str, Any]], model: str, device: str, quantity: Quantity) -> Curve:
    """Totals by length; lengths where it was not measured or not counted are missing."""
    found = {}
    for record in records:
        case = record["case"]
        if (case["model"], case["device"], case["what"]) == (model, device, quantity.what):
            values = [run[quantity.key] for run in record["repeats"] if run[quantity.key] is not None]
            if values:
                found[case["length"]] = values
    return found


def by_event(curve: Curve, quantity: Quantity) -> Curve:
    """What one event costs: a pass's total by its positions, a step as it is."""
    if not quantity.by_position:
        return curve
    return {length: [value / length for value in values] for length, values in curve.items()}


def relative(records: Sequence[Mapping[str, Any]], model: str, device: str, quantity: Quantity) -> Curve:
    """What an event costs, by what it costs at `FROM`: times as measured by turns, memory by the median there."""
    if quantity.timed:
        return curve_of(records, model, device, replace(quantity, key="growth"))
    curve = by_event(curve_of(records, model, device, quantity), quantity)
    if FROM not in curve:
        return {}
    base = spread(curve[FROM]).median
    return {length: [value / base for value in values] for length, values in curve.items()}


def tables(saved: Mapping[str, Any]) -> str:
    """Every device's quantities, a length a line, with the exponents below."""
    parts = []
    for device in saved["devices"]:
        for quantity in quantities(device):
            parts.append(f"{device}, {quantity}, {quantity.unit}\n\n{_table(saved, device, quantity)}")
    return "\n\n".join(parts)


def _table(saved: Mapping[str, Any], device: str, quantity: Quantity) -> str:
    models = saved["models"][device]
    curves = {model: curve_of(saved["records"], model, device, quantity) for model in models}
    rows = []
    for length in saved["lengths"]:
        values = [by_event(curves[model], quantity).get(length) for model in models]
        rows.append([f"{length:,}", *(_figure(v, quantity.scale) for v in values)])
    fits = [exponent(curves[model]) for model in models]
    rows.append([f"exponent from {FROM:,}", *(_fit(fit) for fit in fits)])
    return markdown(["positions" if quantity.by_position else "events before", *models], rows)


def _figure(values: Sequence[float] | None, scale: float) -> str:
    if not values:
        return "–"
    found = spread([scale * value for value in values])
    return _spread(found, "{:,.0f}" if found.median >= 1_000 else "{:.4g}")


def _fit(fit: Spread | None) -> str:
    return "–" if fit is None else _spread(fit, "{:.2f}")


def _spread(found: Spread, form: str) -> str:
    middle, low, high = (
        form.format(v).replace("-0.00", "0.00") for v in (found.median, found.low, found.high)
    )
    return middle if low == high else f"{middle} ({low}–{high})"


def verdicts(saved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each form of RecGRELA and each quantity, whether its cost per event stays within `STEADY` from `FROM` up."""
    found = []
    for device in saved["devices"]:
        for model in saved["models"][device]:
            if not model.startswith("RecGRELA"):
                continue
            for quantity in quantities(device):
                ratios = relative(saved["records"], model, device, quantity)
                found.append(_verdict(model, device, quantity, ratios))
    return found


def _verdict(model: str, device: str, quantity: Quantity, ratios: Curve) -> dict[str, Any]:
    steady = steadiness(ratios)
    named = {"model": model, "device": device, "quantity": str(quantity)}
    if steady is None:
        why = f"it was not measured at {FROM:,} and above"
        return named | {"within": None, "words": f"{device}, {model}, {quantity}: not judged: {why}"}
    longer = {length: values for length, values in ratios.items() if length > FROM and values}
    noise = max(max(values) / min(values) for values in longer.values()) - 1
    words = (
        f"{device}, {model}, {quantity}: {'yes' if steady.within else 'NO'}, {steady.low - 1:+.1%} (at "
        f"{steady.low_at:,}) to {steady.high - 1:+.1%} (at {steady.high_at:,}) of that at {FROM:,}, "
        f"measured up to {max(longer):,}; repeats of one length differ by up to {noise:.1%}"
    )
    return named | {"within": steady.within, "low": steady.low, "high": steady.high, "words": words}


def disturbance(saved: Mapping[str, Any]) -> str:
    """A line on what else the machine did meanwhile, where that makes times doubtful; else nothing."""
    shares = [run["others"] for record in saved["records"] for run in record["repeats"]]
    return not_quiet(shares, "Processor times suffer least, and are too long still.")
