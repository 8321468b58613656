"""What the tests of stores share."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grela.store.protocol import START, Append, LoggedEvent, NewEvent, Position, Tail

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
SERVERS = ("valkey-server", "redis-server")


def event(item: object, at: float = 0, name: str | None = None) -> NewEvent:
    return NewEvent(str(item), at, name)


def log(store, user: str, *events: NewEvent, known: Position = START):
    """Append for one user; returns what became of it."""
    return store.append([Append(user, events, known)])[0]


def items(tail: Tail) -> list[str]:
    return [one.item for one in tail.events]


class Follower:
    """Somebody who holds a user's events by folding tails, as a service holds a state."""

    def __init__(self) -> None:
        self.position = START
        self.events: list[LoggedEvent] = []

    def fold(self, tail: Tail) -> None:
        if tail.whole:
            self.events = []
        self.events += tail.events
        self.position = tail.position
        assert [one.seq for one in self.events] == list(range(1, self.position.seq + 1))


def python(script: Path | str, *arguments: object, **popen: object) -> subprocess.Popen:
    """A script of this folder in a process of its own."""
    path = Path(__file__).parent / script
    return subprocess.Popen(
        [sys.executable, str(path), *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | popen,
    )


def server_program() -> str | None:
    """A Redis or Valkey server of this machine."""
    return next((found for name in SERVERS if (found := shutil.which(name))), None)


@contextmanager
def running_server(folder: Path, *settings: str) -> Iterator[str]:
    """A server of our own whose files are in `folder`, listening on a socket there; yields its URL."""
    with server_process(folder, *settings) as (url, _):
        yield url


@contextmanager
def server_process(folder: Path, *settings: str) -> Iterator[tuple[str, subprocess.Popen]]:
    folder.mkdir(parents=True, exist_ok=True)
    listening = folder / "s"
    listening.unlink(missing_ok=True)
    command = [
        server_program(),
        "--port",
        "0",
        "--unixsocket",
        str(listening),
        "--dir",
        str(folder),
        "--save",
        "",
    ]
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen([*command, *(settings or DURABLE)], stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 20
        while not answers(listening):
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < deadline, (folder / "said").read_text()
            time.sleep(0.01)
        yield f"unix://{listening}", process
    finally:
        process.kill()
        process.wait()


def answers(path: Path) -> bool:
    """Whether a server listens there and has read its files; one that asks for a password has."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
