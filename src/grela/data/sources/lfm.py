"""LFM-1b: listening events from Last.fm, one tab-separated line each, without a header."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from grela.data.events import Events
from grela.data.sources.delimited import event_schema, scan
from grela.data.sources.source import Counts, Layout, RemoteFile, Source

COLUMNS = ("user_id", "artist_id", "album_id", "track_id", "timestamp")
SCHEMA = event_schema(pa.int64(), pa.int64())


def read_lfm(paths: Sequence[Path]) -> Events:
    """Events whose items are tracks; times are Unix seconds, as given."""
    return Events("lfm-1b", SCHEMA, "given", lambda: (b for path in paths for b in _read_file(path)))


def _read_file(path: Path) -> Iterator[pa.RecordBatch]:
    types = dict.fromkeys(("user_id", "track_id", "timestamp"), pa.int64())
    for batch in scan(path, COLUMNS, types):
        yield pa.RecordBatch.from_arrays(
            [batch.column(c) for c in ("user_id", "track_id", "timestamp")], schema=SCHEMA
        )


LFM = Source(
    name="lfm-1b",
    title="LFM-1b",
    publisher_url="http://www.cp.jku.at/datasets/LFM-1b",
    licence="derived from the Last.fm API and bound by its terms of service: non-commercial research",
    citation="M. Schedl, The LFM-1b Dataset for Music Retrieval and Recommendation, ICMR 2016",
    counts=Counts(120_322, None, 1_088_161_692),
    files=(RemoteFile("LFM-1b_LEs.txt", None),),
    layouts=(Layout("LFM-1b_LEs.txt", read_lfm), Layout("LFM-1b_LEs.txt.gz", read_lfm)),
    note="its licence has expired and the publisher no longer offers it; items are tracks; titles are not read, "
    "since 32 million of them do not fit the memory of most machines",
)
