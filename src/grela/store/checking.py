"""What can be logged, the same for every store."""

from collections.abc import Iterable, Sequence
from math import isfinite

from grela.errors import EventError
from grela.store.protocol import Append, NewEvent

# Times of a run's log have the same limit (`grela.serving.request`): differences of two fit 64 bits.
LIMIT = 2**62


def check_batch(batch: Sequence[Append]) -> None:
    """EventError, naming the entry and the place in it, for what cannot be logged."""
    for number, entry in enumerate(batch):
        check_user(entry.user, f"entry {number}")
        check_events(entry.events, f"entry {number}")


def check_user(user: str, where: str) -> None:
    """EventError if `user` is no text that UTF-8 can say, or empty."""
    _check_text(user, f"{where}: the user")


def check_events(events: Iterable[NewEvent], where: str) -> None:
    """EventError for the first event whose item, id or time cannot be logged."""
    for place, event in enumerate(events):
        _check_text(event.item, f"{where}, event {place}: the item")
        if event.id is not None:
            _check_text(event.id, f"{where}, event {place}: the id")
        _check_time(event.time, f"{where}, event {place}")


def _check_text(text: str, what: str) -> None:
    if not isinstance(text, str) or not text:
        raise EventError(f"{what} is {text!r}, expected text that is not empty; give an id as text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EventError(
            f"{what} is {text!r}, which holds half of a surrogate pair; expected text that UTF-8 can say"
        ) from error


def _check_time(time: int | float, where: str) -> None:
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise EventError(f"{where}: the time is {time!r}, expected a number in the unit of the log")
    if isinstance(time, int) and not -LIMIT < time < LIMIT:
        raise EventError(f"{where}: the time has {time.bit_length()} bits, expected less than +-2^62")
    if isinstance(time, float) and not isfinite(time):
        raise EventError(f"{where}: the time is {time}, expected a finite number")
