"""What the service bears: events with lists, and reads, over the users of a run; by wrk, on the service's machine.

    python benchmarks/load.py runs/ml-1m --json load.json
    python benchmarks/load.py runs/ml-1m --lengths 100 1000 10000 100000
    python benchmarks/load.py runs/ml-1m --soak 30

Cases: durable and not, each number of workers, and, beside them, the same service re-encoding a user's last 200 and
2,000 events for each list (`reencoding.py`). Each is measured in a closed loop (a connection sends when it is answered,
so this finds the throughput) and in open loops at given rates (many connections, each sending at random times whatever
the others do, so this finds what waiting costs). All states are in memory before anything is timed. `--lengths` adds
users with that many events to the store and asks for those alone. `--soak MINUTES` keeps one case under load and
follows its memory.

Requests are a POST of one event (or `--events`, of different users) with a list of 10 each, or with probability
`--reads` a GET of a list. wrk takes part of the machine too, so the processor time of the service for each request is
told beside the rest.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commits import working_tree
from served import Served, requests, running
from train import processor

from grela.live.loading import seed
from grela.recommender import Recommender
from grela.store.opening import open_store
from grela.store.protocol import Append, NewEvent

OPEN_CONNECTIONS = 256


@dataclass(frozen=True)
class Case:
    """A service: how many workers, whether durable, and the window of one that re-encodes, 0 for states."""

    workers: int
    durable: bool
    window: int = 0

    def __str__(self) -> str:
        kind = f"re-encodes {self.window:,}" if self.window else "states"
        return f"{kind}, {'durable' if self.durable else 'not durable'}, workers {self.workers}"

    def command(self, run: Path, store: Path) -> list[str]:
        """Arguments for Python."""
        kept = [] if self.durable else ["--not-durable"]
        if self.window:
            script = str(Path(__file__).with_name("reencoding.py"))
            return [script, str(run), "--store", str(store), "--window", str(self.window), *kept]
        workers = ["--workers", str(self.workers), "--memory", "4000"]
        return ["-m", "grela", "serve", str(run), "--store", str(store), "--port", "0", *workers, *kept]


@dataclass(frozen=True)
class Asked:
    """The folder of one measurement: the store with its histories, and the files that wrk reads."""

    folder: Path
    users: int

    @property
    def store(self) -> Path:
        return self.folder / "events.sqlite"

    @property
    def files(self) -> tuple[Path, Path]:
        return self.folder / "users", self.folder / "items"


def prepared(run: Path, folder: Path, lengths: list[int]) -> Asked:
    """A store with the run's histories; users of given lengths, where these are wanted, are alone asked then."""
    recommender = Recommender.load(run, device="cpu")
    histories = recommender.split.histories
    items = [str(raw) for raw in histories.catalogue.ids.to_pylist()]
    asked = Asked(folder, 0)
    store = open_store(str(asked.store))
    print("importing the run's histories ...", file=sys.stderr)
    seed(store, recommender, lambda done, users: None)
    users = [str(raw) for raw in histories.users.ids.to_pylist()]
    if lengths:
        rng, users = random.Random(0), []
        for length in lengths:
            for number in range(20):
                users.append(f"made-up-{length}-{number}")
                events = tuple(NewEvent(rng.choice(items), at) for at in range(length))
                store.append([Append(users[-1], events)])
    store.close()
    for path, rows in zip(asked.files, (users, items), strict=True):
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return Asked(folder, len(users))


def warmed(served: Served, asked: Asked) -> None:
    """Read users until all states are in memory."""
    seconds = 2.0
    while served.count("grela_states") < asked.users:
        if seconds > 1_000:
            raise SystemExit("the states of all users do not stay in memory; give the service more")
        # Each time from the first user on, of whom those before are quick.
        found = requests(served, *asked.files, connections=4, seconds=seconds, once=True)
        if found["bad"]:
            raise SystemExit(
                f"{found['bad']} of {found['requests']} requests failed; the service's log says why"
            )
        seconds *= 2


def measured(case: Case, run: Path, asked: Asked, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A closed loop for each number of connections, then an open one for each rate."""
    shutil.copy(asked.store, asked.folder / "copy.sqlite")
    with running(case.command(run, asked.folder / "copy.sqlite")) as served:
        warmed(served, asked)
        loops = [("closed", n, 0.0) for n in given.connections]
        loops += [("open", OPEN_CONNECTIONS, rate) for rate in given.rates if not case.window]
        for loop, connections, rate in loops:
            jobs, cycles = served.count("grela_cycle_jobs_sum"), served.count("grela_cycle_jobs_count")
            found = requests(
                served,
                *asked.files,
                connections=connections,
                seconds=given.seconds,
                reads=given.reads,
                rate=rate,
                events=given.events,
            )
            jobs, cycles = (
                served.count("grela_cycle_jobs_sum") - jobs,
                served.count("grela_cycle_jobs_count") - cycles,
            )
            yield (
                asdict(case)
                | {"loop": loop, "connections": connections, "rate": rate}
                | {"reads": given.reads, "events": given.events}
                | found
                | {
                    "jobs_per_cycle": jobs / max(1, cycles),
                    "megabytes": served.megabytes(),
                }
            )
    for path in asked.folder.glob("copy.sqlite*"):
        path.unlink()


def line(case: Case, found: dict[str, Any]) -> str:
    """One measurement in words."""
    loop = f"open {found['rate']:,.0f}/s" if found["rate"] else f"closed, {found['connections']} connections"
    lists = found["requests"] / found["seconds"] * (found["reads"] + (1 - found["reads"]) * found["events"])
    return (
        f"{case!s:42} {loop:24} {found['requests'] / found['seconds']:8,.0f} requests/s  "
        f"{lists:8,.0f} lists/s  "
        f"p50 {found['p50']:7.2f}  p95 {found['p95']:7.2f}  p99 {found['p99']:7.2f} ms  "
        f"{found['cpu_us']:6.0f} us of processor  {found['jobs_per_cycle']:5.1f} a cycle  "
        f"{found['megabytes']:6.0f} MB{'  BAD ' + str(found['bad']) if found['bad'] else ''}"
    )


def soaked(run: Path, asked: Asked, given: argparse.Namespace) -> dict[str, Any]:
    """Memory every ten seconds of a long load, after the first fifth; it should stay where it is."""
    case = Case(max(given.workers), durable=True)
    seen: list[tuple[float, float]] = []
    shutil.copy(asked.store, asked.folder / "copy.sqlite")
    with running(case.command(run, asked.folder / "copy.sqlite")) as served:
        warmed(served, asked)
        over, began = threading.Event(), time.monotonic()

        def watch() -> None:
            while not over.wait(10):
                seen.append((time.monotonic() - began, served.megabytes()))

        watching = threading.Thread(target=watch)
        watching.start()
        found = requests(
            served, *asked.files, connections=given.connections[0], seconds=60 * given.soak, reads=given.reads
        )
        over.set()
        watching.join()
    settled = seen[len(seen) // 5 :]
    print(f"{case}: {found['requests']:,} requests, {found['bad']} bad, p99 {found['p99']:.2f} ms")
    print(f"memory after a fifth of the time {settled[0][1]:,.0f} MB, at the end {settled[-1][1]:,.0f} MB")
    return asdict(case) | found | {"memory": seen}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement (default: 15)")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[32], help="of closed loops (default: 32)"
    )
    parser.add_argument("--rates", type=float, nargs="*", default=[1000, 2500, 5000], help="of open loops")
    parser.add_argument(
        "--reads", type=float, default=0.2, help="share of requests that only read (default: 0.2)"
    )
    parser.add_argument(
        "--events",
        type=int,
        default=1,
        help="of a request that is no read, with a list for each (default: 1)",
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--windows", type=int, nargs="*", default=[200, 2000], help="of services that re-encode"
    )
    parser.add_argument("--durable-only", action="store_true", help="leave out what is not durable")
    parser.add_argument(
        "--lengths", type=int, nargs="*", default=[], help="events of made-up users, asked alone"
    )
    parser.add_argument("--soak", type=float, help="minutes of load, following memory, instead of all else")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    return parser.parse_args()


def main() -> None:
    """Measure, print, save."""
    given = arguments()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    saved: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(),
        "processor": processor(),
        "commit": working_tree(),
    }
    with tempfile.TemporaryDirectory() as folder:
        asked = prepared(given.run, Path(folder), given.lengths)
        if given.soak:
            saved["soak"] = soaked(given.run, asked, given)
        else:
            saved["records"] = []
            cases = [Case(n, durable) for durable in (True, False) for n in given.workers]
            cases += [Case(1, True, window) for window in given.windows]
            for case in cases:
                if given.durable_only and not case.durable:
                    continue
                for found in measured(case, given.run, asked, given):
                    print(line(case, found), flush=True)
                    saved["records"].append(found)
    if given.json is not None:
        given.json.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
