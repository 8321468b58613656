"""Messages of a topic as events of the log: JSON as `POST /events` takes it, one event each."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grela.errors import RefusedError
from grela.live.ids import Clock, checked_id
from grela.live.limits import Limits
from grela.run_data import read_data
from grela.run_folder import read_facts
from grela.store.protocol import Append, NewEvent

_FIELDS = {"user", "item", "time", "id"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message and its place. sent: seconds since 1970 when its producer or broker stamped it, None without stamp."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    sent: float | None

    @property
    def place(self) -> str:
        """topic/partition/offset, which names it for good while the topic lives."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What a message is checked against: the items of a run, the form of its ids and times."""

    items: frozenset[str]
    integer_users: bool
    integer_items: bool
    clock: Clock

    @staticmethod
    def of(run: Path) -> "Catalogue":
        """That of a run's folder, without its model; RunError if there is none."""
        split, _ = read_data(run, read_facts(run))
        histories = split.histories
        return Catalogue(
            frozenset(map(str, histories.catalogue.ids.to_pylist())),
            histories.users.integers,
            histories.catalogue.integers,
            Clock(histories.time_unit, histories.times.dtype.kind == "i"),
        )

    def event(self, message: Message) -> Append:
        """The event of a message, RefusedError if it has none.

        Its id is the message's own `id`, so that what a producer sends twice is one event; else the message's place.
        Without a `time` it happened when it was sent.
        """
        found = _object(message.value)
        raw = {name: _id(found, name) for name in ("user", "item")}
        longest = Limits().id_length
        user = checked_id(raw["user"], "user", integers=self.integer_users, longest=longest)
        item = checked_id(raw["item"], "item", integers=self.integer_items, longest=longest)
        if item not in self.items:
            raise RefusedError(
                f"item is {item!r}, which is not among the {len(self.items):,} items of the run"
            )
        name = message.place
        if found.get("id") is not None:
            name = checked_id(_text(found, "id"), "id", integers=False, longest=longest)
        return Append(user, (NewEvent(item, self._time(found.get("time"), message), name),))

    def _time(self, value: Any, message: Message) -> int | float:
        if value is not None:
            return self.clock.checked(value, "time")
        if message.sent is None:
            raise RefusedError("there is no time, and the topic stamps its messages with none; send one")
        return self.clock.at(message.sent)


def _object(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise RefusedError("there is no value, expected a JSON object")
    try:
        found = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the value is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise RefusedError(f"the value is a {type(found).__name__}, expected an object with user and item")
    unknown = sorted(found.keys() - _FIELDS)
    if unknown:
        raise RefusedError(f"there is a field {unknown[0]!r}, expected user, item, and perhaps time and id")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _id(found: dict[str, Any], name: str) -> str | int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RefusedError(f"{name} is {value!r:.100}, expected text or an integer")
    return value


def _text(found: dict[str, Any], name: str) -> str:
    value = found[name]
    if not isinstance(value, str):
        raise RefusedError(f"{name} is {value!r:.100}, expected text")
    return value
