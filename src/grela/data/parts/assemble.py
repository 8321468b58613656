"""A folder in parts as one value: histories whose arrays lie on disk, mapped, in the order that `prepare` gives them.

All that is held of every user is the id and where the history begins; of the events, the row group being read.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from grela.data.histories import Histories
from grela.data.histories_file import IDS, UserRows, read_table, row_groups
from grela.data.parts.layout import Manifest, PartFile, read_manifest, sha256
from grela.data.vocabulary import Vocabulary
from grela.errors import DataError

# U users, E events


def assemble(folder: Path, *, place: Path | None = None) -> tuple[Histories, Manifest]:
    """All histories of the folder, as `prepare` gives them for the whole log.

    The arrays are files of 12 bytes an event in `place` (the system's folder for temporary files if None), already
    deleted: their space is free again when the histories are no longer used. Pages are read when they are looked at.
    Raises DataError where a file is missing, or not the one that the manifest names.
    """
    manifest = read_manifest(folder)
    with _named(folder):
        for one in (manifest.items, *manifest.parts):
            _must_be_whole(folder, one)
        catalogue = Vocabulary(
            read_table(folder / manifest.items.file, {"item": IDS})["item"].combine_chunks(), 1
        )
        paths = [folder / one.file for one in manifest.parts]
        users, dense, offsets = _places(paths, len(catalogue))
        items, times = _arrays(paths, len(catalogue), dense, offsets, place)
    return Histories(items, times, offsets, users, catalogue, manifest.time_unit), manifest


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the log in parts in {folder}: {error}; restore it, or shard the log again"
        ) from error


def _must_be_whole(folder: Path, one: PartFile) -> None:
    found = sha256(folder / one.file)
    if found != one.sha256:
        raise ValueError(f"{one.file} has SHA-256 {found[:12]}, but {one.sha256[:12]} in the manifest")


def _places(paths: list[Path], num_items: int) -> tuple[Vocabulary, np.ndarray, np.ndarray]:
    """The users in the order of their ids, the dense id of each user in the order of the files, offsets [U + 1]."""
    ids, lengths = [], []
    for path in paths:
        for rows in row_groups(path, num_items):
            ids.append(rows.users)
            lengths.append(np.diff(rows.offsets))
    together = pa.concat_arrays(ids)
    order = pc.sort_indices(together).to_numpy()
    dense = np.empty(len(order), np.int64)
    dense[order] = np.arange(len(order))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths)[order])]).astype(np.int64)
    return Vocabulary(together.take(pa.array(order)), first=0), dense, offsets


def _arrays(
    paths: list[Path], num_items: int, dense: np.ndarray, offsets: np.ndarray, place: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Items and times [E], mapped and private to this process."""
    time = pq.read_schema(paths[0]).field("times").type.value_type.to_pandas_dtype()
    with tempfile.TemporaryDirectory(prefix=".grela-", dir=place) as name:
        files, first = (Path(name) / "items", Path(name) / "times"), 0
        for path in paths:
            for rows in row_groups(path, num_items):
                _put(files, rows, offsets[:-1][dense[first : first + len(rows.users)]], int(offsets[-1]))
                first += len(rows.users)
        kinds = (np.dtype(np.int32), np.dtype(time))
        # Copy on write: nobody writes, and tensors cannot be made of memory that could not be written.
        items, times = (
            np.asarray(np.memmap(file, kind, "c", shape=(int(offsets[-1]),)))
            for file, kind in zip(files, kinds, strict=True)
        )
    return items, times


def _put(files: tuple[Path, Path], rows: UserRows, starts: np.ndarray, events: int) -> None:
    """Write users' events to where their histories start; the maps are closed again, so their pages are not kept."""
    lengths = np.diff(rows.offsets)
    at = np.repeat(starts - rows.offsets[:-1], lengths) + np.arange(len(rows.items))
    for file, values in zip(files, (rows.items, rows.times), strict=True):
        with file.open("ab") as grown:
            grown.truncate(events * values.dtype.itemsize)
        np.memmap(file, values.dtype, "r+", shape=(events,))[at] = values
