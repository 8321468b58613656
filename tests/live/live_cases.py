"""What the tests of the service share: a small run, a service on it, a server process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import forked_service

from fit_cases import fitted
from grela.errors import RunError
from grela.live.client import Client
from grela.live.limits import Limits
from grela.live.loading import Change, change_items, load_served, seed, served_of
from grela.live.service import Service
from grela.live.settings import Settings
from grela.store.memory import MemoryStore

# The small run's log: users 100..129, items 500..519, a day between events, whole seconds.
USERS = [str(user) for user in range(100, 130)]
ITEMS = [str(item) for item in range(500, 520)]
DAY = 86_400
AFTER_LOG = 1_800_000_000


def seeded_store() -> MemoryStore:
    store = MemoryStore()
    seed(store, fitted(), lambda done, users: None)
    return store


def service(
    store=None, *, memory: int = 10**8, limits: Limits | None = None, load=None, run: Path | None = None
) -> Service:
    """A service of one worker on the small run, or on a copy of it in a folder."""
    served = served_of(fitted())
    of_memory = load or (lambda: served_of(fitted()))

    def change(change: Change) -> None:
        if run is None:
            raise RunError("this run is in no folder")
        change_items(run, change)

    return Service(
        seeded_store() if store is None else store,
        served,
        load=of_memory if run is None else lambda: load_served(run),
        change=change,
        memory=memory,
        limits=limits or Limits(),
    )


@dataclass
class Server:
    """A process of `grela serve`."""

    process: subprocess.Popen
    url: str
    line: str

    def client(self, **more) -> Client:
        return Client(self.url, **more)

    def kill(self) -> None:
        """As kill -9 of the process, and of its workers where it has some."""
        self.process.kill()
        self._gone()

    def end(self) -> int:
        """As Ctrl-C would; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self._gone()

    def _gone(self) -> int:
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


def start(run: Path, *arguments: object, environment: dict[str, str] | None = None) -> Server:
    """Start a service and wait until it says that it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "grela", "serve", str(run), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        start_new_session=True,
    )
    line = process.stdout.readline()
    if not line.startswith("serving http://"):
        process.kill()
        process.stdout.close()
        raise AssertionError(f"the service said {line!r}, exit code {process.wait()}")
    return Server(process, line.split()[1], line)


@contextmanager
def serving(run: Path, *arguments: object, **more) -> Iterator[Server]:
    """A service on a free port, killed at the end if it still runs."""
    server = start(run, "--port", 0, *arguments, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


class Forked:
    """A service in a process forked from one that has imported all: it begins sooner, and dies as any."""

    def __init__(self, **settings) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(
            ["grela.live.running", "pyarrow.dataset", "uvicorn.protocols.http.httptools_impl"]
        )
        ear, mouth = context.Pipe(duplex=False)
        self.process = context.Process(
            target=forked_service.serve, args=(Settings(**settings), mouth), daemon=True
        )
        self.process.start()
        mouth.close()
        self.url = ear.recv().split()[1]
        ear.close()

    def client(self, **more) -> Client:
        return Client(self.url, **more)

    def kill(self) -> None:
        """As kill -9."""
        self.process.kill()
        self.process.join()

    def end(self) -> int:
        """As SIGTERM; the exit code."""
        self.process.terminate()
        self.process.join(60)
        return self.process.exitcode


def wait_for(what, seconds: float = 60.0) -> None:
    """Until `what()` is true."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
