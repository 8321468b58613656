"""What appending to a store costs, durable and not, in commits of 1 to 256 events, and what reading costs.

    python benchmarks/store.py --stores sqlite sqlite-not-durable lmdb redis memory

10^4 users with 20 events each; then commits of events of random users, each with an id and a known position, as a
service sends them; then whole histories of 200 events, and tails of one. Stores take turns, round by round, so that
a disk that slows down slows all. `redis` starts a server of its own (redis-server or valkey-server); `lmdb` is the
same append and read on LMDB, for which py-lmdb must be installed. The disk's own sync is measured in the same rounds.
"""

import argparse
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from grela.store.memory import MemoryStore
from grela.store.opening import open_store
from grela.store.protocol import Append, NewEvent

SIZES = (1, 16, 64, 256)
LONG = 200


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ["sqlite", "sqlite-not-durable", "lmdb", "redis", "memory"]
    parser.add_argument(
        "--stores", nargs="+", choices=names, default=["sqlite", "sqlite-not-durable", "memory"]
    )
    parser.add_argument("--folder", type=Path, help="Where the stores lie; a temporary folder by default.")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=20, help="Events of each user before the measurement.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="For each size of commit, in each round.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        subjects = [Subject(name, Path(folder) / name, arguments) for name in arguments.stores]
        syncs: list[float] = []
        for _ in range(arguments.rounds):
            syncs += sync_times(Path(folder) / "synced")
            for subject in subjects:
                subject.round(arguments.seconds)
        print(f"a sync of 4 KiB, this disk: {ms(syncs, 0.5)} ms median, {ms(syncs, 0.99)} ms p99")
        for subject in subjects:
            subject.report()
            subject.close()


class Subject:
    """One store under measurement, and what was measured of it."""

    def __init__(self, name: str, path: Path, arguments: argparse.Namespace) -> None:
        self.name, self.path, self.users = name, path, arguments.users
        self.random = random.Random(0)
        self.server: subprocess.Popen[bytes] | None = None
        self.store = self._open()
        self.count = 0
        self.commits: dict[int, list[float]] = {size: [] for size in SIZES}
        self.reads: dict[str, list[float]] = {"history": [], "tail": []}
        begin = time.perf_counter()
        self.store.seed("benchmark", self._histories(arguments.events))
        self.seeded = self.users * arguments.events + 100 * LONG
        self.seeding = self.seeded / (time.perf_counter() - begin)
        self.known = {
            user: self.store.read(user).position for user in map("user {}".format, range(self.users))
        }

    def round(self, seconds: float) -> None:
        """Commits of each size for so long, then reads."""
        for size in SIZES:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                batch = self._batch(size)
                self.commits[size].append(timed(partial(self._commit, batch)))
        for _ in range(200):
            user = f"long {self.random.randrange(100)}"
            self.reads["history"].append(timed(partial(self.store.read, user)))
            known = self.store.read(user).position
            behind = known._replace(seq=known.seq - 1)
            self.reads["tail"].append(timed(partial(self.store.read, user, behind)))

    def report(self) -> None:
        """One line for each measured thing."""
        print(f"{self.name}: import {self.seeding:,.0f} events/s, {self._bytes():.0f} bytes an event")
        for size, times in self.commits.items():
            rate = size * len(times) / sum(times)
            print(
                f"  commits of {size:>3}: {ms(times, 0.5)} ms, p99 {ms(times, 0.99)} ms, {rate:>9,.0f} events/s"
            )
        for what, times in self.reads.items():
            print(f"  a {what} of {LONG if what == 'history' else 1}: {1000 * float(ms(times, 0.5)):.0f} us")

    def close(self) -> None:
        """Let go of the store and its server."""
        self.store.close()
        if self.server is not None:
            self.server.terminate()
            self.server.wait()

    def _open(self) -> Any:
        if self.name == "memory":
            return MemoryStore()
        if self.name == "lmdb":
            from lmdb_log import LmdbLog

            return LmdbLog(self.path)
        if self.name != "redis":
            return open_store(str(self.path), durable=self.name == "sqlite")
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        if program is None:
            raise SystemExit("there is no valkey-server or redis-server on this machine")
        self.path.mkdir()
        socket = self.path / "socket"
        options = f"--port 0 --unixsocket {socket} --dir {self.path} --appendonly yes --appendfsync always"
        self.server = subprocess.Popen([program, *options.split(), "--save", ""], stdout=subprocess.DEVNULL)
        while not socket.exists():
            if self.server.poll() is not None:
                raise SystemExit(f"{program} did not start")
            time.sleep(0.05)
        return open_store(f"unix://{socket}")

    def _histories(self, events: int) -> Any:
        for user in range(self.users):
            yield f"user {user}", [self._event(at) for at in range(events)]
        for user in range(100):
            yield f"long {user}", [self._event(at) for at in range(LONG)]

    def _event(self, at: int, name: str | None = None) -> NewEvent:
        return NewEvent(str(self.random.randrange(3400)), 1_700_000_000 + at, name)

    def _batch(self, size: int) -> list[Append]:
        entries = []
        for _ in range(size):
            user = f"user {self.random.randrange(self.users)}"
            self.count += 1
            name = f"{self.random.getrandbits(128):032x}"
            entries.append(Append(user, (self._event(self.count, name),), self.known[user]))
        return entries

    def _commit(self, batch: list[Append]) -> None:
        for entry, found in zip(batch, self.store.append(batch), strict=True):
            self.known[entry.user] = found.tail.position

    def _bytes(self) -> float:
        events = self.seeded + self.count
        files = (
            [self.path] if self.path.is_file() else list(self.path.rglob("*")) if self.path.is_dir() else []
        )
        return sum(file.stat().st_blocks * 512 for file in files if file.is_file()) / events


def timed(call: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def sync_times(path: Path) -> list[float]:
    """Seconds of 50 appends of 4 KiB, each synced."""
    with path.open("ab") as file:
        return [
            timed(lambda: (file.write(bytes(4096)), file.flush(), os.fdatasync(file.fileno())))
            for _ in range(50)
        ]


def ms(times: list[float], part: float) -> str:
    """A quantile, in milliseconds."""
    return f"{1000 * sorted(times)[min(len(times) - 1, int(part * len(times)))]:.3f}"


if __name__ == "__main__":
    main()
