"""Gowalla: check-ins at places, one tab-separated line each, without a header."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from grela.data.events import Events
from grela.data.sources.delimited import TIME, event_schema, scan
from grela.data.sources.source import Counts, Layout, RemoteFile, Source

COLUMNS = ("user", "check-in time", "latitude", "longitude", "location id")
SCHEMA = event_schema(pa.int64(), pa.int64())
FILE = "loc-gowalla_totalCheckins.txt"


def read_gowalla(paths: Sequence[Path]) -> Events:
    """Events whose items are places; times are microseconds since 1970, UTC."""
    return Events("gowalla", SCHEMA, "us", lambda: (b for path in paths for b in _read_file(path)))


def _read_file(path: Path) -> Iterator[pa.RecordBatch]:
    types = {"user": pa.int64(), "location id": pa.int64(), "check-in time": TIME}
    for batch in scan(path, COLUMNS, types):
        columns = [
            batch.column("user"),
            batch.column("location id"),
            batch.column("check-in time").cast(pa.int64()),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


GOWALLA = Source(
    name="gowalla",
    title="Gowalla check-ins",
    publisher_url="https://snap.stanford.edu/data/loc-gowalla.html",
    licence="research data; no licence is known",
    citation="E. Cho, S. A. Myers and J. Leskovec, Friendship and Mobility, KDD 2011",
    counts=Counts(107_092, 1_280_969, 6_442_892),
    files=(RemoteFile(f"{FILE}.gz", f"https://snap.stanford.edu/data/{FILE}.gz", limit=2 * 2**30),),
    layouts=(Layout(f"{FILE}.gz", read_gowalla), Layout(FILE, read_gowalla)),
    note="users check in at the same place again and again; there are no names of places",
)
