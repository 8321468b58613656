"""The model and the data of a run's folder: catalogue with titles, and histories, as Parquet."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from grela.data.histories import Histories
from grela.data.histories_file import IDS, UserRows, read_rows, read_some_rows, read_table, write_histories
from grela.data.splitting import Split, train_item_counts
from grela.data.vocabulary import RawId, Vocabulary
from grela.errors import ConfigError, DataError, RunError
from grela.models.io import DESCRIPTION, load_model
from grela.models.recgrela import RecGRELA
from grela.run_folder import RunFacts

ITEMS = "items.parquet"
HISTORIES = "histories.parquet"

_ITEMS = {"item": IDS, "title": (pa.string(),)}


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
    write_histories(folder / HISTORIES, histories)


def read_data(folder: Path, facts: RunFacts) -> tuple[Split, dict[RawId, str]]:
    """The split and the titles of a run; raises RunError if they are not those it was made with."""
    try:
        items = read_table(folder / ITEMS, _ITEMS)
        histories = _histories(items, read_rows(folder / HISTORIES, len(items)), facts.time_unit)
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


def read_users(folder: Path, items: pa.Table, time_unit: str, low: int, high: int) -> Histories:
    """The histories of dense users low..high-1 of a run alone; items: of `read_items`. RunError where they are damaged.

    That they are those that the run was made with is not checked: the fingerprint is of all users.
    """
    try:
        return _histories(items, read_some_rows(folder / HISTORIES, len(items), low, high), time_unit)
    except (ValueError, DataError) as error:
        raise RunError(
            f"cannot read the data of the run {folder}: {error}; restore it or fit again"
        ) from error


def read_items(folder: Path) -> pa.Table:
    """The catalogue of a run: item, title, train_events. RunError where it is damaged."""
    try:
        return read_table(folder / ITEMS, _ITEMS | {"train_events": (pa.int64(),)})
    except ValueError as error:
        raise RunError(
            f"cannot read the data of the run {folder}: {error}; restore it or fit again"
        ) from error


def num_users(folder: Path) -> int:
    """The users of a run. RunError where they cannot be counted."""
    try:
        return int(pq.read_metadata(folder / HISTORIES).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"cannot read the data of the run {folder}: {error}; restore it or fit again"
        ) from error


def read_model(folder: Path, facts: RunFacts, num_items: int) -> RecGRELA:
    """The model of a run; raises RunError or ModelError if it is damaged, or not the one that the run was made with."""
    model = load_model(folder)
    expected = replace(facts.config.model, num_items=num_items)
    if not isinstance(model, RecGRELA) or model.config != expected:
        raise RunError(
            f"{folder / DESCRIPTION} says {model.config}, the run was made with {expected}: it was changed "
            "or is of another run; restore it or fit again"
        )
    return model


def _histories(items: pa.Table, users: UserRows, time_unit: str) -> Histories:
    return Histories(
        items=users.items,
        times=users.times,
        offsets=users.offsets,
        users=Vocabulary(users.users, first=0),
        catalogue=Vocabulary(items["item"].combine_chunks(), first=1),
        time_unit=time_unit,
    )
