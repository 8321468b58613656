"""Raw ids and times of requests as the log keeps them: ids as text in canonical form, times as numbers in its unit."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from grela.data.instants import instant
from grela.data.vocabulary import RawId
from grela.errors import ConfigError, RefusedError
from grela.store.checking import LIMIT as TIME_LIMIT

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_INTEGER = re.compile("-?[0-9]{1,19}")


def canonical(raw: RawId, *, integers: bool) -> str:
    """The id as text; where ids are integers, "007" and 7 are the same: "7". Other text stays as it is."""
    if isinstance(raw, int):
        return str(raw)
    return str(int(raw)) if integers and _INTEGER.fullmatch(raw) else raw


def checked_id(raw: RawId, what: str, *, integers: bool, longest: int) -> str:
    """`canonical`, or RefusedError for an id that no log could hold: empty, endless, or with control characters."""
    if isinstance(raw, int):
        if not -(2**63) <= raw < 2**63:
            raise RefusedError(f"{what} has {raw.bit_length()} bits, expected an integer of 64 bits, or text")
        return str(raw)
    if not 1 <= len(raw) <= longest:
        raise RefusedError(f"{what} has {len(raw):,} characters, expected 1 to {longest}")
    unprintable = _UNPRINTABLE.search(raw)
    if unprintable:
        raise RefusedError(
            f"{what} has the character U+{ord(unprintable[0]):04X} at place {unprintable.start()}, expected an id "
            "without control characters"
        )
    return canonical(raw, integers=integers)


def checked_title(title: str, what: str, *, longest: int) -> str:
    """The title, or RefusedError for one that no page could show."""
    unprintable = _UNPRINTABLE.search(title)
    if unprintable or not 1 <= len(title) <= longest:
        raise RefusedError(
            f"{what} has {len(title):,} characters{', control characters among them' if unprintable else ''}, expected "
            f"1 to {longest:,} that can be shown"
        )
    return title


@dataclass(frozen=True)
class Clock:
    """How times of a log are told: `unit` is "us" (microseconds UTC) or "given"; `whole` numbers or floats."""

    unit: str
    whole: bool

    def checked(self, value: int | float | str, what: str) -> int | float:
        """The time as the log has it; RefusedError if it has no such time."""
        try:
            time = instant(value, what, self.unit)
        except ConfigError as error:
            raise RefusedError(str(error)) from error
        if not -TIME_LIMIT < time < TIME_LIMIT:
            raise RefusedError(f"{what} is beyond +-2^62, expected a time in the unit of the log")
        if not self.whole:
            return float(time)
        if time != math.floor(time):
            raise RefusedError(f"{what} is {time}, expected a whole number: this log counts in those")
        return int(time)

    def at(self, seconds: float) -> int | float:
        """Seconds since 1970 in the unit of the log; a log with times of its own is taken to count seconds too."""
        time = seconds * 1e6 if self.unit == "us" else seconds
        return int(time) if self.whole else time


def in_order(times: Sequence[int | float], what: str) -> None:
    """RefusedError where times go back."""
    for place in range(1, len(times)):
        if times[place] < times[place - 1]:
            raise RefusedError(
                f"{what} goes back at place {place}, from {times[place - 1]} to {times[place]}: give the oldest first"
            )
