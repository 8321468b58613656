"""Netflix Prize: blocks of `customer,rating,date` lines under `movie:` lines."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grela.data.events import Events
from grela.data.sources.delimited import event_schema, numbered_rows, scan
from grela.data.sources.lines import numbered_lines
from grela.data.sources.source import Counts, Layout, RemoteFile, Source
from grela.data.vocabulary import RawId
from grela.errors import ReadError, ValueInDataError

SCHEMA = event_schema(pa.int64(), pa.int64())
RATING = r"^(?P<user>[0-9]{1,18}),(?P<rating>[0-9]+),(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})$"
MOVIE = r"^(?P<movie>[0-9]{1,18}):$"


def read_netflix(paths: Sequence[Path]) -> Events:
    """Events in the order of the files; times are microseconds since 1970, at midnight UTC of the day."""
    return Events("netflix-prize", SCHEMA, "us", lambda: (b for path in paths for b in _read_file(path)))


def _read_file(path: Path) -> Iterator[pa.RecordBatch]:
    movie: int | None = None
    # a separator that is no text character: each line is one column
    for first_line, batch in numbered_rows(scan(path, ["line"], {"line": pa.string()}, delimiter="\x01")):
        lines = batch.column("line")
        movies = pc.struct_field(pc.extract_regex(lines, MOVIE), "movie").cast(pa.int64())
        parsed = pc.extract_regex(lines, RATING)
        days = pc.strptime(pc.struct_field(parsed, "date"), format="%Y-%m-%d", unit="s", error_is_null=True)
        _refuse_bad_lines(path, first_line, lines, movies, days)
        items = _carried_on(path, first_line, movies, movie)
        if len(items):
            movie = int(items[-1])
        is_rating = pc.is_valid(days)
        yield pa.RecordBatch.from_arrays(
            [
                pc.struct_field(parsed, "user").filter(is_rating).cast(pa.int64()),
                pa.array(items).filter(is_rating),
                days.filter(is_rating).cast(pa.timestamp("us")).cast(pa.int64()),
            ],
            schema=SCHEMA,
        )


def _refuse_bad_lines(path: Path, first_line: int, lines: pa.Array, movies: pa.Array, days: pa.Array) -> None:
    bad = np.flatnonzero(pc.and_(pc.is_null(movies), pc.is_null(days)).to_numpy(zero_copy_only=False))
    if len(bad):
        got = lines[int(bad[0])].as_py()[:80]
        raise ValueInDataError(
            f"{path}, line {first_line + int(bad[0])}: got {got!r}, expected `movie:` or `customer,rating,YYYY-MM-DD`"
        )


def _carried_on(path: Path, first_line: int, movies: pa.Array, movie: int | None) -> np.ndarray:
    """The movie that each line belongs to, int64; the first lines belong to the last movie before."""
    start = pa.array([movie], pa.int64())
    filled = pc.fill_null_forward(pa.concat_arrays([start, movies]))[1:]
    if filled.null_count:
        raise ReadError(f"{path}, line {first_line}: a rating comes before any `movie:` line")
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.int64)


def read_netflix_titles(path: Path) -> dict[RawId, str]:
    """Titles of `id,year,title` lines in latin-1, with the year where it is known; titles hold commas."""
    titles: dict[RawId, str] = {}
    for number, line in numbered_lines(path, encoding="latin-1"):
        fields = line.split(",", 2)
        if len(fields) != 3 or not (fields[0].isascii() and fields[0].isdigit()):
            raise ReadError(f"{path}, line {number}: got {line[:80]!r}, expected `id,year,title`")
        movie, year, title = fields
        titles[int(movie)] = f"{title} ({year})" if year.isdigit() else title
    return titles


NETFLIX = Source(
    name="netflix-prize",
    title="Netflix Prize",
    publisher_url="https://www.kaggle.com/datasets/netflix-inc/netflix-prize-data",
    licence="research only; no commercial use and no redistribution without permission from Netflix",
    citation="J. Bennett and S. Lanning, The Netflix Prize, KDD Cup and Workshop 2007",
    counts=Counts(480_189, 17_770, 100_480_507),
    files=(
        *(RemoteFile(f"combined_data_{n}.txt", None) for n in (1, 2, 3, 4)),
        RemoteFile("movie_titles.csv", None),
    ),
    layouts=(
        Layout("combined_data_*.txt", read_netflix, "movie_titles.csv", read_netflix_titles, parts=4),
        Layout("training_set/mv_*.txt", read_netflix, "movie_titles.txt", read_netflix_titles, parts=17_770),
    ),
    note="needs a login; the folder may also hold the original training_set/mv_*.txt and movie_titles.txt",
)
