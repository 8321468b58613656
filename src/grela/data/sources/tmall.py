"""Tmall: actions of shoppers before the Double 11 day of 2014, from the IJCAI-15 repeat buyers contest."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grela.data.events import Events
from grela.data.sources.delimited import event_schema, numbered_rows, scan
from grela.data.sources.source import Counts, Layout, RemoteFile, Source
from grela.errors import ColumnError, ValueInDataError

COLUMNS = ("user_id", "item_id", "cat_id", "seller_id", "brand_id", "time_stamp", "action_type")
SCHEMA = event_schema(pa.int64(), pa.int64())
YEAR = 2014
FILE = "user_log_format1.csv"


def read_tmall(paths: Sequence[Path]) -> Events:
    """Events of every action type; times are microseconds since 1970, at midnight of the day in 2014.

    The publisher gives month and day as one number (829 is 29 August).
    """
    return Events("tmall", SCHEMA, "us", lambda: (b for path in paths for b in _read_file(path)))


def _read_file(path: Path) -> Iterator[pa.RecordBatch]:
    wanted = ("user_id", "item_id", "time_stamp")
    text = dict.fromkeys(wanted, pa.string())
    for first_line, batch in numbered_rows(scan(path, COLUMNS, text, delimiter=",")):
        lines = batch
        if first_line == 1:
            _check_header(path, lines)
            lines = lines.slice(1)
            first_line = 2
        users, items, days = (_integers(path, first_line, name, lines.column(name)) for name in wanted)
        yield pa.RecordBatch.from_arrays([users, items, _times(path, first_line, days)], schema=SCHEMA)


def _check_header(path: Path, batch: pa.RecordBatch) -> None:
    got = [column[0].as_py() for column in batch.columns]
    if got != batch.schema.names:
        raise ColumnError(f"{path}, line 1: got {', '.join(got)}; expected the header {','.join(COLUMNS)}")


def _integers(path: Path, first_line: int, name: str, texts: pa.Array) -> pa.Array:
    bad = np.flatnonzero(~pc.match_substring_regex(texts, r"^[0-9]{1,18}$").to_numpy(zero_copy_only=False))
    if len(bad):
        got = texts[int(bad[0])].as_py()[:80]
        raise ValueInDataError(
            f"{path}, line {first_line + int(bad[0])}, {name}: got {got!r}, expected digits"
        )
    return texts.cast(pa.int64())


def _times(path: Path, first_line: int, days: pa.Array) -> pa.Array:
    dates = pc.strptime(
        pc.binary_join_element_wise(str(YEAR), pc.utf8_lpad(days.cast(pa.string()), 4, "0"), ""),
        format="%Y%m%d",
        unit="us",
        error_is_null=True,
    )
    bad = np.flatnonzero(pc.is_null(dates).to_numpy(zero_copy_only=False))
    if len(bad):
        raise ValueInDataError(
            f"{path}, line {first_line + int(bad[0])}, time_stamp: got {days[int(bad[0])]}, "
            "expected month and day as one number, such as 829 or 1111"
        )
    return dates.cast(pa.int64())


TMALL = Source(
    name="tmall",
    title="Tmall, IJCAI-15 repeat buyers",
    publisher_url="https://tianchi.aliyun.com/dataset/42",
    licence="shown by Tianchi (Alibaba) after login; none is stated openly",
    citation="Tianchi, IJCAI-15 Dataset: Repeat Buyers Prediction",
    counts=Counts(424_170, None, 54_925_330),
    files=(RemoteFile(FILE, None),),
    layouts=(Layout(FILE, read_tmall), Layout(f"data_format1/{FILE}", read_tmall)),
    note="needs a login; the file is in data_format1.zip; times are days; clicks, carts, purchases and favourites "
    "are all events; no titles",
)
