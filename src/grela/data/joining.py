"""The events of a run and a log of new ones as one log."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grela.data.events import Events
from grela.data.histories import Histories
from grela.data.vocabulary import Vocabulary
from grela.errors import ValueInDataError

# E events of the run, n new events

ROWS = 1 << 17


@dataclass(frozen=True, eq=False)
class Joined:
    """events: of the run, then those of the log that are new; repeated: how many of the log the run has already."""

    events: Events
    new: int
    repeated: int


def joined(histories: Histories, new: Events, *, name: str) -> Joined:
    """One log of a run's histories and of `new`, of which what the run holds already counts once.

    An event is known again by user, item and time; of several alike, as many are taken as the run and `new` have at
    most. So `new` may hold the new events alone, or all there ever were. `name` is the run's, for messages.

    Raises ValueInDataError where ids or times of the two are not of one kind.
    """
    schema = _schema(histories, new, name)
    table = new.table()
    columns = {n: _as(table[n].combine_chunks(), schema.field(n).type) for n in schema.names}
    fresh = _fresh(histories, columns)
    kept = pa.table(columns, schema=schema).filter(pa.array(fresh))

    def batches() -> Iterator[pa.RecordBatch]:
        yield from _of_histories(histories, schema)
        yield from kept.to_batches(max_chunksize=ROWS)

    events = Events(f"{name} and {new.name}", schema, new.time_unit, batches)
    return Joined(events, int(fresh.sum()), len(fresh) - int(fresh.sum()))


def _schema(histories: Histories, new: Events, name: str) -> pa.Schema:
    if new.time_unit != histories.time_unit:
        words = {"us": "dates", "given": "numbers"}
        raise ValueInDataError(
            f"{new.name} has {words.get(new.time_unit, new.time_unit)} as times, but {name} has "
            f"{words.get(histories.time_unit, histories.time_unit)}; give both alike"
        )
    fields = {}
    for column, vocabulary in (("user", histories.users), ("item", histories.catalogue)):
        kind = vocabulary.ids.type
        if pa.types.is_int64(kind) and not pa.types.is_int64(new.schema.field(column).type):
            raise ValueInDataError(
                f"{new.name} has {column} ids that are no integers, but those of {name} are; give ids of one kind"
            )
        fields[column] = kind
    real = histories.times.dtype.kind == "f" or pa.types.is_float64(new.schema.field("time").type)
    return pa.schema(fields | {"time": pa.float64() if real else pa.int64()})


def _as(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """In the run's type: integers may be the decimal text of its ids, and whole numbers its real times."""
    return values if values.type == kind else values.cast(kind)


def _of_histories(histories: Histories, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The run's events in order: user, time, row of its log."""
    owners = np.repeat(np.arange(len(histories)), histories.lengths)
    for low in range(0, histories.num_events, ROWS):
        part = slice(low, low + ROWS)
        yield pa.record_batch(
            [
                histories.users.ids.take(pa.array(owners[part])),
                histories.catalogue.ids.take(pa.array(histories.items[part] - histories.catalogue.first)),
                pa.array(np.asarray(histories.times[part])).cast(schema.field("time").type),
            ],
            schema=schema,
        )


def _fresh(histories: Histories, columns: dict[str, pa.Array]) -> np.ndarray:
    """Which of the new events the run does not hold, bool [n]."""
    user, item = (_dense(columns[name], ids) for name, ids in _vocabularies(histories))
    time = columns["time"].to_numpy(zero_copy_only=False)
    known = (user >= 0) & (item >= 0)
    fresh = ~known
    # Only users who have new events matter.
    concerned = np.zeros(len(histories), bool)
    concerned[user[known]] = True
    owners = np.repeat(np.arange(len(histories)), histories.lengths)
    old = concerned[owners]
    held = (
        owners[old],
        histories.items[old] - histories.catalogue.first,
        histories.times[old].astype(time.dtype),
    )
    asked = user[known], item[known], time[known]
    keys = [np.concatenate(pair) for pair in zip(held, asked, strict=True)]
    is_new = np.arange(len(keys[0])) >= len(held[0])
    order = np.lexsort((is_new, keys[2], keys[1], keys[0]))
    new_sorted = is_new[order]
    differs = np.zeros(len(order), bool)
    for key in keys:
        differs[1:] |= key[order][1:] != key[order][:-1]
    differs[:1] = True
    group = np.cumsum(differs) - 1
    of_run = np.bincount(group, weights=~new_sorted).astype(np.int64) if len(group) else np.zeros(0, np.int64)
    starts = np.flatnonzero(differs)
    # The run's come first in each group: new ones beyond twice as many are more than the run has.
    place = np.arange(len(order)) - starts[group] if len(group) else np.zeros(0, np.int64)
    more = place[new_sorted] - of_run[group[new_sorted]] >= of_run[group[new_sorted]]
    found = np.empty(len(asked[0]), bool)
    found[order[new_sorted] - len(held[0])] = more
    fresh[known] = found
    return fresh


def _vocabularies(histories: Histories) -> tuple[tuple[str, Vocabulary], tuple[str, Vocabulary]]:
    return ("user", histories.users), ("item", histories.catalogue)


def _dense(values: pa.Array, vocabulary: Vocabulary) -> np.ndarray:
    """Places in the vocabulary, -1 for ids that are not there."""
    found: np.ndarray = pc.fill_null(pc.index_in(values, vocabulary.ids), -1).to_numpy(zero_copy_only=False)
    return found
