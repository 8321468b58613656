"""Small logs as `prepare` takes them, and what must come of them, in plain Python."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from hypothesis import strategies as st

Row = tuple[str | int, str | int, int | float]


@dataclass(frozen=True, eq=False)
class Log:
    """The form of `grela.data.events.Events`."""

    name: str
    schema: pa.Schema
    time_unit: str
    batches: Callable[[], Iterator[pa.RecordBatch]]


def kind_of(values: Sequence[object]) -> pa.DataType:
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    return kinds[type(values[0])] if values else pa.int64()


def log(rows: Sequence[Row], *, batch_rows: int = 3, time_unit: str = "given") -> Log:
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
    names = ("user", "item", "time")
    schema = pa.schema([(name, kind_of(column)) for name, column in zip(names, columns, strict=True)])
    table = pa.table(columns, schema=schema)
    return Log("log", schema, time_unit, lambda: iter(table.to_batches(max_chunksize=batch_rows)))


def in_order(rows: Sequence[Row]) -> dict[str | int, list[Row]]:
    """Each user's rows by time, ties as they came; users in the order of their ids."""
    users = sorted({row[0] for row in rows}, key=id_order)
    return {user: sorted((r for r in rows if r[0] == user), key=lambda r: r[2]) for user in users}


def id_order(raw: str | int) -> bytes | int:
    return raw.encode() if isinstance(raw, str) else raw


def without_repeats(rows: Sequence[Row], repeats: str) -> list[Row]:
    kept: list[Row] = []
    for history in in_order(rows).values():
        for place, row in enumerate(history):
            if repeats == "first" and any(row[1] == earlier[1] for earlier in history[:place]):
                continue
            if repeats == "drop_consecutive" and place and row[1] == history[place - 1][1]:
                continue
            kept.append(row)
    return kept


def core(rows: Sequence[Row], *, min_user_events: int, min_item_events: int) -> list[Row]:
    """The definition: drop whatever has too few events, until nothing changes."""
    kept = list(rows)
    while True:
        users, items = Counter(r[0] for r in kept), Counter(r[1] for r in kept)
        left = [r for r in kept if users[r[0]] >= min_user_events and items[r[1]] >= min_item_events]
        if len(left) == len(kept):
            return kept
        kept = left


INTEGERS = st.sampled_from([-(2**63), -11, -2, 0, 3, 20, 100, 2**63 - 1])
STRINGS = st.sampled_from(
    ["", "a", "B", "a ", "10", "9", "a\0b", "ä", "z", "\uffff", "\U0001f600", "it's; --"]
)
SMALL_TIMES = st.integers(-3, 3)
FLOAT_TIMES = st.sampled_from([-1e300, -0.5, -0.0, 0.0, 5e-324, 0.5, 1e300])


def logs(*, min_size: int = 1, max_size: int = 40) -> st.SearchStrategy[list[Row]]:
    """Logs of one kind of ids and times, with many ties and repeats."""
    forms = [
        st.lists(st.tuples(users, items, times), min_size=min_size, max_size=max_size)
        for users in (INTEGERS, STRINGS)
        for items in (INTEGERS, STRINGS)
        for times in (SMALL_TIMES, FLOAT_TIMES)
    ]
    return st.one_of(forms)
