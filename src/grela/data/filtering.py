"""Which events are kept: repeats of an item, and the k-core of users and items.

Everything here works on one table of a scratch database, `events(row, u, i, time)`: the row of the log,
dense codes of user and item, the time.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from grela.data.engine import Scratch

Repeats = Literal["keep", "drop_consecutive", "first"]

# An event's place in its user's history is (time, row): ties in time stay in the order of the log.
_IS_KEPT = {
    "drop_consecutive": "lag(i) OVER (PARTITION BY u ORDER BY time, row) IS DISTINCT FROM i",
    "first": "row_number() OVER (PARTITION BY u, i ORDER BY time, row) = 1",
}


@dataclass(frozen=True)
class Counts:
    """How much there is."""

    events: int
    users: int
    items: int

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(self.events - other.events, self.users - other.users, self.items - other.items)

    def __str__(self) -> str:
        return f"{self.events:,} events, {self.users:,} users, {self.items:,} items"


@dataclass(frozen=True)
class Step:
    """What one step of the preparation left of what it found."""

    name: str
    detail: str
    before: Counts
    after: Counts

    @property
    def dropped(self) -> Counts:
        return self.before - self.after

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "dropped": asdict(self.dropped)}

    def __str__(self) -> str:
        return f"{self.name} ({self.detail}): dropped {self.dropped}; left {self.after}"


def count(events: Scratch) -> Counts:
    """Events, and the users and items that occur in them."""
    return Counts(
        events.number("SELECT count(*) FROM events"),
        events.number("SELECT count(*) FROM (SELECT DISTINCT u FROM events)"),
        events.number("SELECT count(*) FROM (SELECT DISTINCT i FROM events)"),
    )


def drop_repeats(events: Scratch, repeats: Repeats) -> None:
    """Drop a user's repeated events of an item.

    "drop_consecutive" drops an event when the event just before it in the user's history has the same item;
    "first" keeps only the first event of each user and item; "keep" drops nothing.
    """
    if repeats == "keep":
        return
    events.execute(f"CREATE TABLE kept AS SELECT row, u, i, time FROM events QUALIFY {_IS_KEPT[repeats]}")  # noqa: S608
    _replace_events(events)


def keep_core(events: Scratch, *, min_user_events: int, min_item_events: int) -> int:
    """Drop users and items with too few events until none is left that has too few; return the rounds it took.

    The result is the largest set of events in which every user has `min_user_events` and every item
    `min_item_events`. It is unique, so the order of dropping does not matter.
    """
    rounds = 0
    while True:
        dropped = drop_rare(events, "u", min_user_events) + drop_rare(events, "i", min_item_events)
        if not dropped:
            return rounds
        rounds += 1


def drop_rare(events: Scratch, column: Literal["u", "i"], minimum: int) -> int:
    """Drop users or items with fewer events than `minimum`; return how many there were."""
    if minimum <= 1:
        return 0
    counts = f"SELECT {column} AS code FROM events GROUP BY {column} HAVING count(*) < {minimum:d}"  # noqa: S608
    events.execute(f"CREATE OR REPLACE TABLE rare AS {counts}")
    dropped = events.number("SELECT count(*) FROM rare")
    if dropped:
        # Not a DELETE: its marks stay in memory, and ran out of a 300 MB limit at 40 million rows.
        left = f"SELECT * FROM events WHERE {column} NOT IN (SELECT code FROM rare)"  # noqa: S608
        events.execute(f"CREATE TABLE kept AS {left}")
        _replace_events(events)
    return dropped


def _replace_events(events: Scratch) -> None:
    events.execute("DROP TABLE events")
    events.execute("ALTER TABLE kept RENAME TO events")
