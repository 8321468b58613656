"""What the tests of stores share."""

import subprocess
import sys
from pathlib import Path

from grela.store.protocol import START, Append, LoggedEvent, NewEvent, Position, Tail


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
