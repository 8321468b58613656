"""Writes the same events in every format, for the tests of the readers."""

import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from grela.data.events import Events, read_events

Row = tuple[object, object, object]
ROWS: list[Row] = [(7, 31, 100), (3, 12, 90), (7, 12, 100), (5, 44, 250)]
TEXT_ROWS: list[Row] = [("ann", "x-1", 100), ("bo", "é", 90), ("ann", "y,2", 100), ("007", "x 1", 250)]


def as_csv(rows: Sequence[Row], delimiter: str = ",") -> bytes:
    def field(value: object) -> str:
        text = str(value)
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in (delimiter, '"')) else text

    lines = [("user_id", "item_id", "timestamp"), *rows]
    return "".join(delimiter.join(map(field, row)) + "\n" for row in lines).encode()


def as_jsonl(rows: Sequence[Row]) -> bytes:
    return "".join(
        json.dumps({"user_id": u, "item_id": i, "timestamp": t}) + "\n" for u, i, t in rows
    ).encode()


def as_inter(rows: Sequence[Row]) -> bytes:
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    return (head + "".join(f"{u}\t{i}\t5\t{t}\n" for u, i, t in rows)).encode()


def as_movielens(rows: Sequence[Row]) -> bytes:
    return "".join(f"{u}::{i}::5::{t}\n" for u, i, t in rows).encode()


def as_u_data(rows: Sequence[Row]) -> bytes:
    return "".join(f"{u}\t{i}\t5\t{t}\n" for u, i, t in rows).encode()


def as_table(rows: Sequence[Row]) -> pa.Table:
    users, items, times = (list(column) for column in zip(*rows, strict=True))
    return pa.table({"user_id": users, "item_id": items, "timestamp": times})


def as_parquet(rows: Sequence[Row]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(as_table(rows), sink)
    return sink.getvalue()


FILES: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "log.csv": as_csv,
    "log.tsv": lambda rows: as_csv(rows, "\t"),
    "log.jsonl": as_jsonl,
    "log.inter": as_inter,
    "ratings.dat": as_movielens,
    "u.data": as_u_data,
    "log.parquet": as_parquet,
}
FRAMES: dict[str, Callable[[pa.Table], object]] = {
    "pyarrow": lambda table: table,
    "polars": pl.from_arrow,
    "pandas": lambda table: table.to_pandas(),
    "pandas with arrow types": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "duckdb": lambda table: duckdb.from_arrow(table),
}


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file, packed if its name ends in .gz."""
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return path


def rows_of(events: Events) -> list[Row]:
    """All events as Python values, in order."""
    return [(e["user"], e["item"], e["time"]) for e in events.table().to_pylist()]


def read_text(folder: Path, content: str | bytes, name: str = "log.csv", **columns: str) -> Events:
    """Write a file and read it."""
    data = content.encode() if isinstance(content, str) else content
    return read_events(write(folder, name, data), **columns)  # type: ignore[arg-type]
