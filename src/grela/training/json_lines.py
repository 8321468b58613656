"""What training tells as JSON lines, for whoever reads them in another process."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TextIO

from grela.training.listener import EpochReport, StepReport


class JsonLines:
    """A listener that writes one JSON object a line to a stream, its kind under "event"."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def step(self, report: StepReport) -> None:
        """Every step."""
        self._write("step", asdict(report))

    def epoch(self, report: EpochReport) -> None:
        """Every epoch."""
        self._write("epoch", asdict(report))

    def notice(self, message: str) -> None:
        """Every notice."""
        self._write("notice", {"message": message})

    def _write(self, event: str, values: dict[str, object]) -> None:
        line = json.dumps({"event": event, **finite(values)}, allow_nan=False)
        self.stream.write(line + "\n")
        self.stream.flush()


def finite(values: Mapping[str, object]) -> dict[str, object]:
    """The same with null for what JSON has no number for, such as the loss of a training that diverged."""
    return {
        name: finite(value)
        if isinstance(value, Mapping)
        else (None if isinstance(value, float) and not math.isfinite(value) else value)
        for name, value in values.items()
    }
