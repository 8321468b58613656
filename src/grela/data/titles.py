"""Titles of items, for people to read."""

from typing import Any

import pyarrow as pa

from grela.data.readers.columns import find_columns
from grela.data.readers.formats import TITLE_FORMATS, open_source
from grela.data.readers.ids import as_string, canonical_integers, decoded, is_text, read_ids
from grela.data.readers.scan import Chunk, Scan, shown
from grela.data.vocabulary import RawId
from grela.errors import EmptyDataError, ValueInDataError


def read_titles(
    source: Any, *, item: str | None = None, title: str | None = None, format: str | None = None
) -> dict[RawId, str]:
    """The title of each item, white space around it removed; an item without a title is left out.

    source: a path to CSV, TSV, Parquet, JSON lines, RecBole `.item`, MovieLens `movies.dat` or `u.item` (these two in
        UTF-8 or latin-1), each also packed as .gz; or a data frame with the Arrow PyCapsule interface.
    item, title: the columns' exact names; else their usual names are looked for.
    format: a key of `TITLE_FORMATS`, where the file's name does not tell.

    Ids follow the rules of `read_events`. Raises a DataError that names source and row for whatever cannot be read,
    and for an item with two different titles.
    """
    scan = open_source(source, TITLE_FORMATS, format)
    columns = find_columns(scan.name, scan.how, scan.header, {"item": item, "title": title})
    names = [scan.header[j] for j in columns]
    ids: list[pa.Array] = []
    titles: list[str | None] = []
    places: list[str] = []
    for chunk in scan.chunks(columns):
        ids.append(read_ids(chunk, 0, scan.name, names[0]))
        titles.extend(_titles(chunk, scan.name, names[1]))
        places.extend(chunk.place(j) for j in range(len(chunk)))
    if not ids:
        raise EmptyDataError(f"{scan.name} has a header but no rows; expected items and titles")
    return _paired(scan, one_type(scan, ids).to_pylist(), titles, places)


def _titles(chunk: Chunk, name: str, column: str) -> list[str | None]:
    values = decoded(chunk.columns[1])
    if pa.types.is_null(values.type):
        return [None] * len(values)
    if not is_text(values.type):
        raise ValueInDataError(
            f"{name}: column {column!r} at {chunk.place(0)} is {values.type} ({shown(values[0].as_py())}), "
            f"expected titles as text; name another column with title=NAME"
        )
    texts: list[str | None] = as_string(values, chunk, name, column).to_pylist()
    return texts


def one_type(scan: Scan, ids: list[pa.Array]) -> pa.Array:
    """The ids of all chunks as one array, integers if all of them are; ValueInDataError where a frame mixes them."""
    if len({str(part.type) for part in ids}) > 1:
        raise ValueInDataError(
            f"{scan.name}: item ids are integers in some rows and strings in others; make them one"
        )
    whole = pa.concat_arrays(ids)
    integers = None if scan.typed else canonical_integers(whole)
    return whole if integers is None else integers


def _paired(scan: Scan, ids: list[RawId], titles: list[str | None], places: list[str]) -> dict[RawId, str]:
    found: dict[RawId, str] = {}
    seen: dict[RawId, str] = {}
    for raw, given, place in zip(ids, titles, places, strict=True):
        title = (given or "").strip()
        if not title:
            continue
        if found.setdefault(raw, title) != title:
            raise ValueInDataError(
                f"{scan.name}, {place}: item {raw!r} is {shown(title)}, but {shown(found[raw])} at {seen[raw]}; "
                f"give each item one title"
            )
        seen.setdefault(raw, place)
    return found
