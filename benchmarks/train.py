"""Training: events per second and peak memory, by form, window, catalogue, device, precision and threads.

    python benchmarks/train.py --json now.json              # the whole suite
    python benchmarks/train.py --quick                      # the two base cases, in a minute
    python benchmarks/train.py --against main~5             # the working tree against a commit, case by case
    python benchmarks/train.py --window 200 1000 --items 3416 100000 --form causal     # just these
    python benchmarks/train.py --compare before.json now.json                          # two saved runs

Every case is the default model on made-up histories in a process of its own: whole epochs after a warm-up. A second
commit runs from a temporary git worktree under this same suite; the two take turns, and ratios are of neighbours in
time, so that they survive a noisy machine. Higher is better for events and for "faster by"; lower for memory.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cases import FORMS, POSITIONS, Case, combinations, suite
from commits import REPOSITORY, CommitError, checked_out, resolve, working_tree
from comparison import QUIET, THAT, THIS, case_record, description, side_by_side, table
from processes import CaseError, Library, probe, run_case

FORMAT = 1
PRODUCT = ("window", "items", "precision", "threads", "positions")


class SavedRunError(Exception):
    """A saved run cannot be read, or could not be written; says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure or compare; returns the exit code: 0 done, 1 something failed, 2 usage, 130 interrupted."""
    parser = options()
    asked = parser.parse_args(arguments)
    try:
        if asked.compare:
            print(side_by_side(*(read(path) for path in asked.compare)))
            return 0
        if asked.json:
            must_be_writable(asked.json)
        return run(asked)
    except (CommitError, CaseError, SavedRunError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 130


def options() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--quick", action="store_true", help="base cases only, 1 second and 1 repeat of each")
    parser.add_argument("--against", metavar="COMMIT", help="measure this commit too, in turn")
    parser.add_argument("--compare", nargs=2, type=Path, metavar="JSON", help="print two saved runs and stop")
    parser.add_argument("--repeats", type=whole, help="runs of each case (default 3)")
    parser.add_argument("--seconds", type=positive, help="time of one run, at least (default 5)")
    parser.add_argument("--form", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--device", nargs="+", choices=["cpu", "cuda"], help="default: all there are")
    group = parser.add_argument_group("instead of the suite, every combination of")
    group.add_argument("--window", nargs="+", type=whole)
    group.add_argument("--items", nargs="+", type=whole)
    group.add_argument("--precision", nargs="+", choices=["auto", "bf16", "fp32"])
    group.add_argument("--threads", nargs="+", type=whole)
    group.add_argument("--positions", nargs="+", type=whole, help="of an optimiser step; at least a window")
    return parser


def run(asked: argparse.Namespace) -> int:
    """Measure, print, write; returns the exit code."""
    commit, changed = working_tree()
    against = resolve(asked.against) if asked.against else None
    with contextlib.ExitStack() as stack:
        libraries = [probe(THIS, REPOSITORY / "src", commit)]
        if against:
            libraries.append(probe(THAT, stack.enter_context(checked_out(against)) / "src", against))
        cases = chosen(asked, libraries[0])
        repeats = asked.repeats or (1 if asked.quick else 3)
        seconds = asked.seconds or (1.0 if asked.quick else 5.0)
        records = measured(cases, libraries, repeats, seconds)
    saved = {
        "benchmark": "train",
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(libraries[0]),
        "commits": {
            library.side: {
                "hash": library.commit,
                "changed": changed and library.side == THIS,
                "torch": library.torch,
            }
            for library in libraries
        },
        "repeats": repeats,
        "seconds": seconds,
        "cases": records,
    }
    if asked.json:
        asked.json.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
    print(f"{description(saved)}\n\n{table(saved)}")
    return int(any(record["errors"] for record in records))


def chosen(asked: argparse.Namespace, library: Library) -> list[Case]:
    """The cases asked for; raises CaseError where there is no such device."""
    devices = asked.device or (["cpu", "cuda"] if library.gpu else ["cpu"])
    if "cuda" in devices and not library.gpu:
        raise CaseError("--device cuda, but torch finds no CUDA device here; leave it out, or give cpu")
    if not asked.quick and all(getattr(asked, name) is None for name in PRODUCT):
        return suite(asked.form, devices, library.threads)
    return combinations(
        asked.form,
        devices,
        threads=asked.threads or [library.threads],
        windows=asked.window or [200],
        catalogues=asked.items or [3_416],
        precisions=asked.precision or ["auto"],
        positions=asked.positions or [POSITIONS],
    )


def measured(
    cases: Sequence[Case], libraries: Sequence[Library], repeats: int, seconds: float
) -> list[dict[str, Any]]:
    """Run all cases `repeats` times, libraries in turn; a case that fails once is not tried again."""
    runs: dict[Case, dict[str, list[dict[str, Any]]]] = {
        c: {lib.side: [] for lib in libraries} for c in cases
    }
    errors: dict[Case, dict[str, str]] = {case: {} for case in cases}
    for number, repeat, case, library in schedule(cases, libraries, repeats):
        if library.side in errors[case]:
            continue
        total = repeats * len(cases) * len(libraries)
        whose = f" [{library.side}]" if len(libraries) > 1 else ""
        print(
            f"{number}/{total} repeat {repeat + 1}: {case}{whose} ...", end=" ", file=sys.stderr, flush=True
        )
        try:
            result = run_case(case, library, seconds)
        except CaseError as error:
            errors[case][library.side] = str(error)
            print(f"failed: {error}", file=sys.stderr)
            continue
        runs[case][library.side].append(result)
        print(
            f"{result['events_per_second']:,.0f} events/s, {result['peak_bytes'] / 1e6:,.0f} MB{disturbed(result)}",
            file=sys.stderr,
        )
    return [case_record(case, runs[case], errors[case]) for case in cases]


def disturbed(result: dict[str, Any]) -> str:
    """What other processes took, where it is enough to spoil the figure."""
    others = result["others"]
    return f" (others took {others:.0%} of the cores)" if others is not None and others > QUIET else ""


def schedule(
    cases: Sequence[Case], libraries: Sequence[Library], repeats: int
) -> Iterator[tuple[int, int, Case, Library]]:
    """(number from 1, repeat from 0, case, library): neighbours are of one case, and who goes first changes."""
    number = 0
    for repeat in range(repeats):
        for case in cases:
            for library in libraries[:: -1 if repeat % 2 else 1]:
                number += 1
                yield number, repeat, case, library


def machine(library: Library) -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": library.gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def read(path: Path) -> dict[str, Any]:
    """A saved run; raises SavedRunError if the file holds something else."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SavedRunError(f"{path} is no JSON ({error}); give a file that --json wrote") from error
    if not isinstance(saved, dict) or saved.get("benchmark") != "train" or saved.get("format") != FORMAT:
        raise SavedRunError(f"{path} is no run of this suite, format {FORMAT}; give a file that --json wrote")
    return saved


def whole(text: str) -> int:
    """An integer from 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def must_be_writable(path: Path) -> None:
    """Before minutes of work, not after."""
    if (
        path.is_dir()
        or not path.parent.is_dir()
        or not os.access(path if path.exists() else path.parent, os.W_OK)
    ):
        raise SavedRunError(f"cannot write {path}; give a file in a folder that exists and may be written to")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
