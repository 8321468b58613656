"""What is asked for, in raw ids and checked: users or histories, items to allow or exclude, how many."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from grela.data.histories import Histories
from grela.data.instants import instant
from grela.data.vocabulary import RawId
from grela.errors import ConfigError, RequestError
from grela.ops.gaps import NO_TIME
from grela.serving.ranking import Candidates

History = Sequence[RawId]
Times = Sequence[int | float | str]

# A histories asked for


@dataclass(frozen=True, eq=False)
class Asked:
    """For whom recommendations are asked, A of each.

    histories: dense items, int32, oldest first
    times:     when each was met, in the unit of the log; `NO_TIME` or NaN where that was not said
    unknown:   raw items of the given history that are not in the catalogue
    users:     raw id of a known user, None for a history given as items
    """

    histories: list[np.ndarray]
    times: list[np.ndarray]
    unknown: list[list[RawId]]
    users: list[RawId | None]


def asked(who: Iterable[RawId | History], times: Sequence[Times | None] | None, known: Histories) -> Asked:
    """Resolve raw ids of users and histories as lists of raw items; RequestError for an unknown user.

    times: for each of `who` the times of its items, or None; a known user's are known.
    A user's id comes back as it was in the log, however it was given ("196" for 196).
    """
    found = Asked([], [], [], [])
    listed = _listed(who, "who", "users or of histories")
    given = (
        [None] * len(listed)
        if times is None
        else _listed(times, "times", "one list of times for each of who")
    )
    if len(given) != len(listed):
        raise RequestError(f"times has {len(given)} entries for {len(listed)} of who, expected as many")
    for place, (one, when) in enumerate(zip(listed, given, strict=True)):
        if _is_id(one):
            if when is not None:
                raise RequestError(
                    f"times has times for the user {one!r}, whose times are known: give None there"
                )
            user = int(dense_users([one], known)[0])
            found.histories.append(known[user])
            found.times.append(known.times_of(user))
            found.unknown.append([])
            found.users.append(known.users.decode([user])[0])
        else:
            dense, unknown = _history(one, known, f"entry {place} of who")
            is_known = dense != known.catalogue.unknown
            found.histories.append(dense[is_known].astype(np.int32))
            found.times.append(_times(when, len(dense), known, f"entry {place} of times")[is_known])
            found.unknown.append(unknown)
            found.users.append(None)
    return found


def dense_users(users: Iterable[RawId], known: Histories) -> np.ndarray:
    """Dense ids of raw users, int64; RequestError for one who was not in the fit."""
    raws = _raw_ids(users, "users", "users")
    dense = known.users.encode(raws)
    missing = [raw for raw, found in zip(raws, dense.tolist(), strict=True) if found == known.users.unknown]
    if missing:
        raise RequestError(
            f"unknown user {missing[0]!r}{f' and {len(missing) - 1} more' if missing[1:] else ''}: "
            "not among the users of the fit; give the history as a list of items instead"
        )
    return dense


def known_user(user: RawId, known: Histories) -> tuple[int | None, RawId]:
    """A user's dense id, None for one who was not in the fit; and the raw id as the log would have it.

    RequestError for what is no id.
    """
    (raw,) = _raw_ids([user], "user", "users")
    dense = int(known.users.encode([raw])[0])
    return (None, raw) if dense == known.users.unknown else (dense, known.users.decode([dense])[0])


def candidates(
    known: Histories, allow: Iterable[RawId] | None, exclude: Iterable[RawId], *, filter_seen: bool
) -> Candidates:
    """What may be recommended, from raw items; RequestError for one that is not in the catalogue.

    An item removed from the catalogue is left out, whether `allow` names it or not.
    """
    chosen = None if allow is None else known_items(allow, "allow", known)
    left_out = known_items(exclude, "exclude", known)
    left_out = np.concatenate([left_out, known.removed])
    return Candidates.of(known.num_items, chosen, left_out, filter_seen=filter_seen)


def checked_k(k: int) -> int:
    """k as an int; RequestError if it is no whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise RequestError(f"k is {k!r}, expected a whole number of at least 1")
    return int(k)


def _history(items: Any, known: Histories, where: str) -> tuple[np.ndarray, list[RawId]]:
    """Dense items, and the raw ones that are not known."""
    raws = _raw_ids(items, where, "items, oldest first")
    dense = known.catalogue.encode(raws)
    unknown = [
        raw for raw, found in zip(raws, dense.tolist(), strict=True) if found == known.catalogue.unknown
    ]
    return dense, unknown


def event_time(value: Any, where: str, known: Histories) -> int | float:
    """One time as the log has them: of its type, in its unit; RequestError where it is none."""
    try:
        number = instant(value, where, known.time_unit)
    except ConfigError as error:
        raise RequestError(str(error)) from error
    if known.times.dtype.kind != "i":
        try:
            return float(number)
        except OverflowError as error:
            raise RequestError(
                f"{where} is too large a number, expected a time in the unit of the log"
            ) from error
    if not -(2**62) < number < 2**62:
        raise RequestError(f"{where} has a time beyond +-2^62, expected times in the unit of the log")
    return int(number)


def _times(values: Any, count: int, known: Histories, where: str) -> np.ndarray:
    """The times of `count` events as the log has them, in order."""
    dtype = known.times.dtype
    if values is None:
        return np.full(count, NO_TIME if dtype.kind == "i" else np.nan, dtype)
    listed = _listed(values, where, "times, oldest first")
    if len(listed) != count:
        raise RequestError(f"{where} has {len(listed)} times for {count} items, expected one for each")
    numbers = [event_time(value, f"{where}, place {at},", known) for at, value in enumerate(listed)]
    for at, (before, after) in enumerate(pairwise(numbers), 1):
        if after < before:
            raise RequestError(
                f"{where} goes back at place {at}, from {before} to {after}: give the oldest first"
            )
    return np.array(numbers, dtype)


def known_items(items: Iterable[RawId], name: str, known: Histories) -> np.ndarray:
    """Dense ids of raw items, int64; RequestError for one that is not in the catalogue."""
    raws = _raw_ids(items, name, "items")
    dense = known.catalogue.encode(raws)
    missing = [
        raw for raw, found in zip(raws, dense.tolist(), strict=True) if found == known.catalogue.unknown
    ]
    if missing:
        raise RequestError(
            f"{name} has the unknown item {missing[0]!r} ({len(missing)} in all): give known items"
        )
    return dense


def _raw_ids(values: Any, name: str, what: str) -> list[RawId]:
    """`values` as Python strings and integers."""
    listed = _listed(values, name, what)
    for place, value in enumerate(listed):
        if not _is_id(value):
            raise RequestError(
                f"{name} has {value!r} at place {place}, expected an id: a string or an integer"
            )
    return [str(value) if isinstance(value, str) else int(value) for value in listed]


def _listed(values: Any, name: str, what: str) -> list[Any]:
    # A set has no order, and a mapping's keys are seldom what was meant. A single id is most likely a slip.
    if isinstance(values, str | bytes | Set | Mapping) or not isinstance(values, Iterable):
        raise RequestError(f"{name} is {values!r}, expected a list of {what}")
    return list(values)


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int | np.integer) and not isinstance(value, bool)
