"""MovieLens of GroupLens: 100K, 1M, 20M, 32M and latest-small, as published and as prepared elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from grela.data.events import Events, read_events
from grela.data.sources.lines import numbered_lines
from grela.data.sources.source import Counts, Layout, RemoteFile, Source
from grela.data.sources.wheel import WHEEL, ml100k_from_wheel
from grela.data.titles import read_titles
from grela.data.vocabulary import RawId
from grela.errors import ReadError

PAGE = "https://grouplens.org/datasets/movielens/"
FILES = "https://files.grouplens.org/datasets/movielens/"
CITATION = (
    "F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015, "
    "doi:10.1145/2827872"
)
RESEARCH = "research only; no commercial use and no redistribution without permission from GroupLens"
SHARED = (
    "research; may be passed on under the same terms; no commercial use without permission from GroupLens"
)


def read_log(paths: Sequence[Path]) -> Events:
    """Events of one file in any of the forms of MovieLens; times are Unix seconds, as given."""
    return read_events(paths[0])


def read_recbole_titles(path: Path) -> dict[RawId, str]:
    """Titles of RecBole's `ml-100k.item`, with the year as GroupLens writes it: `Toy Story (1995)`."""
    titles: dict[RawId, str] = {}
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if number == 1 and fields[:3] == ["item_id:token", "movie_title:token_seq", "release_year:token"]:
            continue
        if number == 1 or len(fields) < 3 or not (fields[0].isascii() and fields[0].isdigit()):
            raise ReadError(
                f"{path}, line {number}: got {line[:80]!r}, expected item_id, movie_title and release_year, "
                "split at tabs, below a header of RecBole"
            )
        item, title, year = fields[:3]
        titles[int(item)] = f"{title} ({year})" if year.isdigit() else title
    return titles


def _csv_set(name: str, title: str, counts: Counts, licence: str, archive: RemoteFile, note: str) -> Source:
    return Source(
        name=name,
        title=title,
        publisher_url=PAGE + name.removeprefix("ml-").removesuffix("-small") + "/",
        licence=licence,
        citation=CITATION,
        counts=counts,
        files=(archive,),
        layouts=(Layout("ratings.csv", read_log, "movies.csv", read_titles),),
        note=note,
    )


def _archive(name: str, md5: str | None, size: int | None, *members: str) -> RemoteFile:
    pairs = tuple((f"{name}/{member}", member) for member in members)
    return RemoteFile(f"{name}.zip", f"{FILES}{name}.zip", md5=md5, size=size, limit=2**30, members=pairs)


ML_100K = Source(
    name="ml-100k",
    title="MovieLens 100K",
    publisher_url=f"{PAGE}100k/",
    licence=RESEARCH,
    citation=CITATION,
    counts=Counts(943, 1_682, 100_000),
    files=(_archive("ml-100k", "0e33842e24a9c977be4e0107933c0723", 4_924_029, "u.item", "u.data"), WHEEL),
    layouts=(
        Layout("u.data", read_log, "u.item", read_titles),
        Layout("ml-100k.inter", read_log, "ml-100k.item", read_recbole_titles),
    ),
    substitute=ml100k_from_wheel,
    note="when GroupLens cannot be reached, the files come out of the wheel of recbole 1.2.1",
)

ML_1M = Source(
    name="ml-1m",
    title="MovieLens 1M",
    publisher_url=f"{PAGE}1m/",
    licence=RESEARCH,
    citation=CITATION,
    counts=Counts(6_040, 3_706, 1_000_209),
    files=(_archive("ml-1m", "c4d9eecfca2ab87c1945afe126590906", 5_917_549, "movies.dat", "ratings.dat"),),
    layouts=(
        Layout("ratings.dat", read_log, "movies.dat", read_titles),
        Layout("ratings.tsv.gz", read_log, "movies.dat", read_titles),
    ),
    note="items with at least 5 events (--min-item-events 5) are the 999,611 events of the published tables; "
    "ratings.tsv.gz holds those already",
)

ML_20M = _csv_set(
    "ml-20m",
    "MovieLens 20M",
    Counts(138_493, 27_278, 20_000_263),
    RESEARCH,
    _archive("ml-20m", "cd245b17a1ae2cc31bb14903e1204af3", 198_702_078, "movies.csv", "ratings.csv"),
    "items are the movies that are listed; fewer are rated",
)

ML_32M = _csv_set(
    "ml-32m",
    "MovieLens 32M",
    Counts(200_948, 87_585, 32_000_204),
    SHARED,
    _archive("ml-32m", "d472be332d4daa821edc399621853b57", 238_950_008, "movies.csv", "ratings.csv"),
    "items are the movies that are listed; fewer are rated",
)

ML_LATEST_SMALL = _csv_set(
    "ml-latest-small",
    "MovieLens latest, small",
    Counts(610, 9_742, 100_836),
    SHARED,
    _archive("ml-latest-small", None, None, "movies.csv", "ratings.csv"),
    "GroupLens replaces it from time to time: the counts are of September 2018; that of October 2016 has "
    "671 users and 100,004 events",
)

MOVIELENS = (ML_100K, ML_1M, ML_20M, ML_32M, ML_LATEST_SMALL)
