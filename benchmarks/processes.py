"""The processes that measure: one a case, so that no case inherits another's memory, with the library of one commit."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cases import Case

SUPPOSED = {9: ": out of memory?", 24: ": out of processor time"}
MEASURE = Path(__file__).resolve().with_name("measure.py")


class CaseError(Exception):
    """A case cannot be measured; says why."""


@dataclass(frozen=True)
class Library:
    """One commit's library, and what a process finds with it; `environment` is what its command line sets."""

    side: str
    source: Path
    commit: str | None
    environment: Mapping[str, str]
    torch: str
    threads: int
    gpu: str | None


def probe(side: str, source: Path, commit: str | None) -> Library:
    """Look with a process of its own; raises CaseError if the library of `source` is not the one it gets."""
    found = _output([], source, {})
    if not Path(found["library"]).resolve().is_relative_to(source.resolve()):
        raise CaseError(f"python imports grela from {found['library']}, not from {source}; clear PYTHONPATH")
    return Library(side, source, commit, found["environment"], found["torch"], found["threads"], found["gpu"])


def run_case(case: Case, library: Library, seconds: float) -> dict[str, Any]:
    """Measure one case; raises CaseError with the process's last words if it fails."""
    request = json.dumps({"case": asdict(case), "seconds": seconds})
    return _output([request], library.source, library.environment)


def _output(arguments: list[str], source: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    inherited = os.environ.get("PYTHONPATH")
    path = str(source) + (os.pathsep + inherited if inherited else "")
    return answer(MEASURE, arguments, dict(environment) | {"PYTHONPATH": path})


def answer(script: Path, arguments: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """What a Python script prints, as JSON; raises CaseError with its last words if it fails."""
    settings = os.environ | dict(environment)
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(
        command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            printed, complaint = process.communicate()
        finally:
            # Without effect on one that has ended. subprocess.run would not wait for it after an interrupt.
            process.kill()
            process.wait()
    if process.returncode < 0:
        number = -process.returncode
        raise CaseError(f"killed by signal {number}{SUPPOSED.get(number, '')}")
    if process.returncode:
        raise CaseError((complaint.strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    result: dict[str, Any] = json.loads(printed)
    return result
