"""What is asked for, in raw ids and checked: users or histories, items to allow or exclude, how many."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from grela.data.histories import Histories
from grela.data.vocabulary import RawId
from grela.errors import RequestError
from grela.serving.ranking import Candidates

History = Sequence[RawId]

# A histories asked for


@dataclass(frozen=True, eq=False)
class Asked:
    """For whom recommendations are asked, A of each.

    histories: dense items, int32, oldest first
    unknown:   raw items of the given history that are not in the catalogue
    users:     raw id of a known user, None for a history given as items
    """

    histories: list[np.ndarray]
    unknown: list[list[RawId]]
    users: list[RawId | None]


def asked(who: Iterable[RawId | History], known: Histories) -> Asked:
    """Resolve raw ids of users and histories as lists of raw items; RequestError for an unknown user.

    A user's id comes back as it was in the log, however it was given ("196" for 196).
    """
    found = Asked([], [], [])
    for place, one in enumerate(_listed(who, "who", "users or of histories")):
        if _is_id(one):
            user = int(dense_users([one], known)[0])
            found.histories.append(known[user])
            found.unknown.append([])
            found.users.append(known.users.decode([user])[0])
        else:
            history, unknown = _history(one, known, f"entry {place} of who")
            found.histories.append(history)
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


def candidates(
    known: Histories, allow: Iterable[RawId] | None, exclude: Iterable[RawId], *, filter_seen: bool
) -> Candidates:
    """What may be recommended, from raw items; RequestError for one that is not in the catalogue."""
    chosen = None if allow is None else _dense_items(allow, "allow", known)
    left_out = _dense_items(exclude, "exclude", known)
    return Candidates.of(known.num_items, chosen, left_out, filter_seen=filter_seen)


def checked_k(k: int) -> int:
    """k as an int; RequestError if it is no whole number of at least 1."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise RequestError(f"k is {k!r}, expected a whole number of at least 1")
    return int(k)


def _history(items: Any, known: Histories, where: str) -> tuple[np.ndarray, list[RawId]]:
    """Dense items, int32, of those that are known, and the raw ones that are not."""
    raws = _raw_ids(items, where, "items, oldest first")
    dense = known.catalogue.encode(raws)
    unknown = [
        raw for raw, found in zip(raws, dense.tolist(), strict=True) if found == known.catalogue.unknown
    ]
    return dense[dense != known.catalogue.unknown].astype(np.int32), unknown


def _dense_items(items: Iterable[RawId], name: str, known: Histories) -> np.ndarray:
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
