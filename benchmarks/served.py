"""Processes of a service under measurement: what they say, what they take, and requests by wrk."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
LUA = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Served:
    """A service that answers at `url`."""

    process: subprocess.Popen[str]
    url: str

    def pids(self) -> list[int]:
        """The process and its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def cpu_seconds(self) -> float:
        """Processor time of all of them so far."""
        fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids())
        return sum(int(found[11]) + int(found[12]) for found in fields) / TICKS

    def megabytes(self) -> float:
        """Memory of all of them, resident."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return sum(pages) * PAGE / 1e6

    def count(self, name: str) -> float:
        """The sum of a metric over workers."""
        text = urllib.request.urlopen(self.url + "/metrics").read().decode()
        return sum(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + "{")
        )


@contextmanager
def running(command: Sequence[str], patience: float = 300.0) -> Iterator[Served]:
    """Start a service, wait for its first line, end it in order."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("serving "):
                raise SystemExit(f"the service did not start: {line!r}")
            yield Served(process, line.split()[1])
        finally:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()


def requests(
    served: Served,
    users: Path,
    items: Path,
    *,
    connections: int,
    seconds: float,
    reads: float = 0.0,
    rate: float = 0.0,
    once: bool = False,
    events: int = 1,
) -> dict[str, Any]:
    """What wrk found: requests, seconds, bad answers, milliseconds (p50, p95, p99, most), and microseconds of processor
    time that the service took for each.

    rate: requests a second in an open loop, by all connections together; 0 for a closed loop, in which each sends when
    it is answered. once: read every user in turn. events: of a request that is no read.
    """
    arguments = [users, items, reads, rate / connections, "once" if once else "often", events]
    before, began = served.cpu_seconds(), time.perf_counter()
    said = subprocess.run(
        [
            *(
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{max(1, round(seconds))}",
                "--timeout",
                "10s",
                "-s",
                str(LUA),
            ),
            *(served.url, "--", *map(str, arguments)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    ).stdout
    found: dict[str, Any] = json.loads(
        next(row for row in said.splitlines() if row.startswith("RESULT "))[7:]
    )
    found["seconds"] = min(found["seconds"], time.perf_counter() - began)
    found["cpu_us"] = 1e6 * (served.cpu_seconds() - before) / max(1, found["requests"])
    return found
