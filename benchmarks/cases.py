"""What is measured: a case is a form of the model, a window, a catalogue, a device, a precision and a step's size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

FORMS = ("causal", "bidirectional")
WINDOWS = (50, 200, 1_000, 8_192)
CATALOGUES = (1_000, 3_416, 30_000, 100_000)
POSITIONS = 6_400  # what a training of ML-1M takes by default
POSITIONS_ON_GPU = 65_536


@dataclass(frozen=True, order=True)
class Case:
    """One measurement of the default model; the defaults are ML-1M's. `positions` is an optimiser step's size."""

    form: str
    device: str
    threads: int
    window: int = 200
    items: int = 3_416
    precision: str = "auto"
    positions: int = POSITIONS

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.device == "cpu" else ""
        return (
            f"{self.form}, window {self.window:,}, {self.items:,} items, {self.device}{threads}, "
            f"{self.precision}, {self.positions:,} positions"
        )


def suite(forms: Sequence[str], devices: Sequence[str], threads: int) -> list[Case]:
    """Around the base case of each form and device, one thing changed at a time."""
    return [
        case
        for device, form in product(devices, forms)
        for case in _around(Case(form=form, device=device, threads=threads))
    ]


def combinations(
    forms: Sequence[str],
    devices: Sequence[str],
    *,
    threads: Sequence[int],
    windows: Sequence[int],
    catalogues: Sequence[int],
    precisions: Sequence[str],
    positions: Sequence[int],
) -> list[Case]:
    """Every combination of what is given; a step holds one window at least."""
    return [
        Case(form, device, thread, window, items, precision, max(size, window))
        for device, form, thread, window, items, precision, size in product(
            devices, forms, threads, windows, catalogues, precisions, positions
        )
    ]


def _around(base: Case) -> list[Case]:
    cases = [replace(base, window=w, positions=max(w, base.positions)) for w in WINDOWS]
    cases += [replace(base, items=n) for n in CATALOGUES]
    cases.append(replace(base, precision="fp32"))
    if base.device == "cpu":
        cases.append(replace(base, threads=1))
    else:
        cases.append(replace(base, positions=POSITIONS_ON_GPU))
    return list(dict.fromkeys(cases))
