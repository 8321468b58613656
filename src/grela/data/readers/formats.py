"""Which format a file is in, by its name or as told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from grela.data.readers.arrow import open_frame, open_parquet
from grela.data.readers.delimited import Dialect, open_delimited
from grela.data.readers.files import checked_path
from grela.data.readers.json_lines import open_json_lines
from grela.data.readers.scan import Scan
from grela.errors import ReadError


@dataclass(frozen=True)
class Format:
    """A file format: the endings (".csv") or whole names ("u.data") it goes by, .gz aside, and how to open it."""

    names: tuple[str, ...]
    open: Callable[[Path], Scan]


def _delimited(*names: str, dialect: Dialect) -> Format:
    return Format(names, partial(open_delimited, dialect=dialect))


_GENERAL: Mapping[str, Format] = {
    "csv": _delimited(".csv", dialect=Dialect("CSV", None)),
    "tsv": _delimited(".tsv", ".tab", dialect=Dialect("TSV", "\t")),
    "parquet": Format((".parquet", ".pq"), open_parquet),
    "jsonl": Format((".jsonl", ".ndjson", ".json"), open_json_lines),
}

_RATINGS = ("user", "item", "rating", "time")
EVENT_FORMATS: Mapping[str, Format] = {
    **_GENERAL,
    "inter": _delimited(".inter", dialect=Dialect("RecBole .inter", "\t", quotes=False, typed_header=True)),
    "movielens": _delimited(".dat", dialect=Dialect("MovieLens", "::", quotes=False, columns=_RATINGS)),
    "u.data": _delimited("u.data", dialect=Dialect("MovieLens-100K", "\t", quotes=False, columns=_RATINGS)),
}

_MOVIES = ("item", "title", "genres")
_U_ITEM = ("item", "title", "release", "video", "link", *(f"genre{j}" for j in range(19)))
TITLE_FORMATS: Mapping[str, Format] = {
    **_GENERAL,
    "u.item": _delimited("u.item", dialect=Dialect("MovieLens-100K", "|", False, _U_ITEM, latin_1=True)),
    "item": _delimited(".item", dialect=Dialect("RecBole .item", "\t", quotes=False, typed_header=True)),
    "movielens": _delimited(".dat", dialect=Dialect("MovieLens", "::", False, _MOVIES, latin_1=True)),
}


def open_source(source: Any, formats: Mapping[str, Format], format: str | None) -> Scan:
    """Open a path (str or Path) or a data frame with `__arrow_c_stream__`.

    Raises ReadError for anything else, for a format or an ending that is not in `formats`, and for a file that
    cannot be read; EmptyDataError for an empty file.
    """
    if isinstance(source, str | Path):
        path = checked_path(source)
        return formats[_named(path, formats) if format is None else _known(format, formats)].open(path)
    if not hasattr(source, "__arrow_c_stream__"):
        raise ReadError(
            f"got a {type(source).__name__}, expected a path or a data frame with the Arrow PyCapsule interface "
            f"(polars, pandas, pyarrow, DuckDB)"
        )
    if format is not None:
        raise ReadError(f"format={format!r} is for files, but the source is a data frame; leave it out")
    return open_frame(source)


def _listed(formats: Mapping[str, Format]) -> str:
    return ", ".join(f"{name} ({' '.join(f.names)})" for name, f in formats.items())


def _known(format: str, formats: Mapping[str, Format]) -> str:
    if format not in formats:
        raise ReadError(f"unknown format {format!r}; formats are {_listed(formats)}")
    return format


def _named(path: Path, formats: Mapping[str, Format]) -> str:
    name = path.name.lower().removesuffix(".gz")
    for key, known in formats.items():
        if any(name.endswith(n) if n.startswith(".") else name == n for n in known.names):
            return key
    raise ReadError(
        f"{path}: cannot tell its format from its name; formats are {_listed(formats)}, each also .gz; "
        f"name the format with format="
    )
