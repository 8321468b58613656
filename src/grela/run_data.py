"""The data of a run's folder: catalogue with titles, and histories, as Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grela.data.histories import Histories
from grela.data.splitting import Split, train_item_counts
from grela.data.vocabulary import RawId, Vocabulary
from grela.errors import ConfigError, DataError, RunError
from grela.run_folder import RunFacts

ITEMS = "items.parquet"
HISTORIES = "histories.parquet"

_ID = (pa.int64(), pa.string())
_ITEMS = {"item": _ID, "title": (pa.string(),)}
_HISTORIES = {
    "user": _ID,
    "items": (pa.large_list(pa.int32()),),
    "times": (pa.large_list(pa.int64()), pa.large_list(pa.float64())),
}


def write_data(folder: Path, split: Split, titles: dict[RawId, str]) -> None:
    """Write the catalogue and the histories."""
    histories = split.histories
    items = histories.catalogue.ids
    pq.write_table(
        pa.table(
            {
                "item": items,
                "title": pa.array([titles.get(raw) for raw in items.to_pylist()], pa.string()),
                "train_events": pa.array(train_item_counts(split)[1:]),
            }
        ),
        folder / ITEMS,
    )
    offsets = pa.array(histories.offsets)
    pq.write_table(
        pa.table(
            {
                "user": histories.users.ids,
                "items": pa.LargeListArray.from_arrays(offsets, pa.array(np.asarray(histories.items))),
                "times": pa.LargeListArray.from_arrays(offsets, pa.array(np.asarray(histories.times))),
            }
        ),
        folder / HISTORIES,
    )


def read_data(folder: Path, facts: RunFacts) -> tuple[Split, dict[RawId, str]]:
    """The split and the titles of a run; raises RunError if they are not those it was made with."""
    try:
        items, users = _read_table(folder / ITEMS, _ITEMS), _read_table(folder / HISTORIES, _HISTORIES)
        histories = _histories(items, users, facts.time_unit)
        split = facts.config.split.apply(histories)
    except (ValueError, DataError, ConfigError) as error:
        raise RunError(
            f"cannot read the data of the run {folder}: {error}; restore it or fit again"
        ) from error
    if split.fingerprint != facts.fingerprint:
        raise RunError(
            f"the histories in {folder} have fingerprint {split.fingerprint[:12]}, the run was made with "
            f"{facts.fingerprint[:12]}: they were changed; restore them or fit again"
        )
    titled = zip(items["item"].to_pylist(), items["title"].to_pylist(), strict=True)
    return split, {raw: title for raw, title in titled if title is not None}


def _read_table(path: Path, expected: dict[str, tuple[pa.DataType, ...]]) -> pa.Table:
    """The table in the file; ValueError where it is unreadable or has another form than is written here."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path.name}: {error}") from error
    for name, types in expected.items():
        got = table.schema.field(name).type if name in table.schema.names else "missing"
        if got not in types:
            raise ValueError(f"column {name} of {path.name} is {got}, expected {types[0]}")
        if name != "title" and table[name].null_count:
            raise ValueError(f"column {name} of {path.name} has nulls")
    return table


def _histories(items: pa.Table, users: pa.Table, time_unit: str) -> Histories:
    lists, times = (users[name].combine_chunks() for name in ("items", "times"))
    dense = lists.values.to_numpy(zero_copy_only=False)
    if not lists.offsets.equals(times.offsets):
        raise ValueError(f"items and times of {HISTORIES} differ in length")
    if lists.values.null_count or (len(dense) and not 1 <= dense.min() <= dense.max() <= len(items)):
        raise ValueError(f"{HISTORIES} has items that are not among the {len(items)} of {ITEMS}")
    return Histories(
        items=dense,
        times=times.values.to_numpy(zero_copy_only=False),
        offsets=lists.offsets.to_numpy(),
        users=Vocabulary(users["user"].combine_chunks(), first=0),
        catalogue=Vocabulary(items["item"].combine_chunks(), first=1),
        time_unit=time_unit,
    )
