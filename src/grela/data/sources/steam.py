"""Steam: reviews of games, one Python dictionary a line (not JSON), as the publisher printed them."""

import ast
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from grela.data.events import Events
from grela.data.sources.delimited import event_schema
from grela.data.sources.lines import numbered_lines
from grela.data.sources.source import Counts, Layout, RemoteFile, Source
from grela.data.vocabulary import RawId
from grela.errors import ReadError, ValueInDataError

SCHEMA = event_schema(pa.string(), pa.string())
ROWS = 1 << 16  # of a batch
DAY = 86_400_000_000  # microseconds
EPOCH = datetime.date(1970, 1, 1)
HOST = "https://mcauleylab.ucsd.edu/public_datasets/data/steam/"


def read_steam(paths: Sequence[Path]) -> Events:
    """Events of (username, product_id, date); times are microseconds since 1970, at midnight of the day."""
    return Events("steam", SCHEMA, "us", lambda: (b for path in paths for b in _read_file(path)))


def _read_file(path: Path) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[str, str, int]] = []
    for number, record in _records(path):
        user, item = (_text(path, number, record, key) for key in ("username", "product_id"))
        rows.append((user, item, _time(path, number, record)))
        if len(rows) == ROWS:
            yield _batch(rows)
            rows = []
    if rows:
        yield _batch(rows)


def _batch(rows: list[tuple[str, str, int]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)],
        schema=SCHEMA,
    )


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in numbered_lines(path):
        try:
            # literals only: no name is looked up and nothing is called
            record = ast.literal_eval(line)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise ReadError(
                f"{path}, line {number}: got {line[:80]!r}, expected a Python dictionary ({error})"
            ) from error
        if not isinstance(record, dict):
            raise ReadError(f"{path}, line {number}: got a {type(record).__name__}, expected a dictionary")
        yield number, record


def _text(path: Path, number: int, record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise ValueInDataError(f"{path}, line {number}, {key}: got {value!r:.80}, expected text")
    return value


def _time(path: Path, number: int, record: dict[str, Any]) -> int:
    text = _text(path, number, record, "date")
    try:
        return (datetime.date.fromisoformat(text) - EPOCH).days * DAY
    except ValueError as error:
        raise ValueInDataError(
            f"{path}, line {number}, date: got {text[:80]!r}, expected YYYY-MM-DD"
        ) from error


def read_steam_titles(path: Path) -> dict[RawId, str]:
    """Names of games by id; games without an id or a name are left out."""
    titles: dict[RawId, str] = {}
    for _, record in _records(path):
        item, name = record.get("id"), record.get("app_name") or record.get("title")
        if isinstance(item, str) and isinstance(name, str):
            titles[item] = name
    return titles


def _layout(suffix: str) -> Layout:
    return Layout(f"steam_reviews.json{suffix}", read_steam, f"steam_games.json{suffix}", read_steam_titles)


STEAM = Source(
    name="steam",
    title="Steam reviews, version 2",
    publisher_url="https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data",
    licence="research data; no licence is known; the publisher asks for citation",
    citation="W.-C. Kang and J. McAuley, Self-attentive sequential recommendation, ICDM 2018",
    counts=Counts(2_567_538, 15_474, 7_793_069),
    files=(
        RemoteFile("steam_games.json.gz", f"{HOST}steam_games.json.gz", limit=2**30),
        RemoteFile("steam_reviews.json.gz", f"{HOST}steam_reviews.json.gz", limit=4 * 2**30),
    ),
    layouts=(_layout(".gz"), _layout("")),
    note="times are days; users are user names, since many lines have no user id; reading takes minutes",
)
