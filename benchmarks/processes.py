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
    settings = os.environ | dict(environment) | {"PYTHONPATH": path}
    command = [sys.executable, str(MEASURE), *arguments]
    # subprocess.run kills its child when an interrupt comes between.
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise CaseError(
            f"killed by signal {-done.returncode}" + (": out of memory?" if done.returncode == -9 else "")
        )
    if done.returncode:
        raise CaseError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    result: dict[str, Any] = json.loads(done.stdout)
    return result
