"""Who is measured when, one process after the other, and whose longer lengths are left out."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from growth import WHATS
from length_case import LengthCase
from processes import CaseError, answer

PATIENCE = 12  # times the most seconds of a call: two calls of up to four times as long, and more

Run = Callable[[LengthCase], Mapping[str, Any]]


class Measurements:
    """What was found so far: repeats of each case, and from which length on a model is left out, and why."""

    def __init__(self, most_seconds: float, longest: int) -> None:
        self.most_seconds, self.longest = most_seconds, longest
        self.repeats: dict[LengthCase, list[Mapping[str, Any]]] = {}
        self.left_out: dict[tuple[str, str, str], tuple[int, str]] = {}

    def wanted(self, case: LengthCase) -> bool:
        """Whether the case is not beyond what its model was left out from."""
        return case.length < self.left_out.get(_series(case), (sys.maxsize, ""))[0]

    def take(self, case: LengthCase, run: Run) -> str:
        """Measure a case, note what was found, and say it in words."""
        try:
            found = run(case)
        except CaseError as error:
            self.left_out[_series(case)] = (case.length, f"{case.length:,} and longer: {error}")
            return f"failed: {error}"
        self.repeats.setdefault(case, []).append(found)
        # A first call makes what is made once; a later one may have been disturbed.
        usual = found["cpu_seconds"] if case.device == "cpu" else found["wall_seconds"]
        took = min(usual, found["first_seconds"])
        if took > self.most_seconds and case.length < self.longest:
            why = f"a call took {took:,.3g} s there, more than {self.most_seconds:g}"
            self.left_out[_series(case)] = (case.length + 1, f"longer than {case.length:,}: {why}")
        memory = "" if found["peak_bytes"] is None else f", {found['peak_bytes'] / 1e6:,.1f} MB"
        return f"{1e3 * found['wall_seconds']:,.3f} ms, {1e3 * found['cpu_seconds']:,.3f} on the CPU{memory}"

    def records(self) -> list[dict[str, Any]]:
        """As they are saved."""
        return [{"case": asdict(case), "repeats": repeats} for case, repeats in self.repeats.items()]

    def missing(self) -> list[dict[str, Any]]:
        """Who was left out, and why."""
        return [
            {"model": model, "what": what, "device": device, "why": why}
            for (model, what, device), (_, why) in self.left_out.items()
        ]


def _series(case: LengthCase) -> tuple[str, str, str]:
    return case.model, case.what, case.device


def schedule(
    models: Mapping[str, Sequence[str]], lengths: Sequence[int], shape: Mapping[str, Any], repeat: int
) -> Iterator[LengthCase]:
    """One repeat's cases: neighbours are of one length, and who goes first changes.

    models: by device; shape: what is left of a case.
    """
    for device, names in models.items():
        for length in lengths:
            for what in WHATS:
                for model in names[:: -1 if repeat % 2 else 1]:
                    yield LengthCase(model=model, what=what, length=length, device=device, **shape)


def in_a_process(case: LengthCase) -> Mapping[str, Any]:
    """Measure by `length_case.py`."""
    script = Path(__file__).resolve().with_name("length_case.py")
    return answer(script, [json.dumps(asdict(case))], {})
