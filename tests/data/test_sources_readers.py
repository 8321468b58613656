"""Parsers of the publishers' own formats, on small files with made-up values."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grela.data.events import Events
from grela.data.sources import DataSet, load
from grela.data.sources.delimited import scan
from grela.data.sources.gowalla import read_gowalla
from grela.data.sources.lfm import read_lfm
from grela.data.sources.lines import numbered_lines
from grela.data.sources.movielens import read_recbole_titles
from grela.data.sources.netflix import read_netflix, read_netflix_titles
from grela.data.sources.steam import read_steam, read_steam_titles
from grela.data.sources.tmall import read_tmall
from grela.errors import DataError, ReadError, ValueInDataError

DAY = 86_400_000_000  # microseconds


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "grela.data.sources.places.platformdirs.user_cache_path", lambda name: tmp_path / "cache"
    )


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def rows(events: Events) -> list[tuple[Any, Any, Any]]:
    table = events.table()
    return list(zip(*(table[c].to_pylist() for c in ("user", "item", "time")), strict=True))


def loaded(name: str, folder: Path) -> DataSet:
    return load(name, folder=folder, say=lambda line: None)


# MovieLens


def test_ml_100k_is_read_as_grouplens_publishes_it(tmp_path: Path) -> None:
    write(tmp_path, "u.data", "7\t2\t3\t880000000\n9\t1\t5\t880000009\n")
    genres = "|".join("0" * 19)
    item = f"1|Café (1990)|01-Jan-1990||http://x|{genres}\n2|Zwei (1991)|01-Jan-1991||http://y|{genres}\n"
    write(tmp_path, "u.item", item, "latin-1")
    data = loaded("ml-100k", tmp_path)
    assert rows(data.events) == [(7, 2, 880000000), (9, 1, 880000009)]
    assert data.titles == {1: "Café (1990)", 2: "Zwei (1991)"}
    assert data.events.time_unit == "given"


def test_ml_100k_is_read_as_recbole_carries_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        "ml-100k.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t2\t3\t880000000\n",
    )
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    write(tmp_path, "ml-100k.item", f"{header}2\tÉté\t1990\tDrama\n3\tunknown\tunknown\tDrama\n")
    data = loaded("ml-100k", tmp_path)
    assert rows(data.events) == [(7, 2, 880000000)]
    assert data.titles == {2: "Été (1990)", 3: "unknown"}


def test_a_recbole_title_line_without_year_is_named(tmp_path: Path) -> None:
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\n"
    path = write(tmp_path, "ml-100k.item", f"{header}2\tA\t1990\n3\tB\n")
    with pytest.raises(ReadError, match=r"ml-100k\.item, line 3: got '3\\tB'"):
        read_recbole_titles(path)


def test_recbole_titles_without_their_header_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "ml-100k.item", "2\tA\t1990\n")
    with pytest.raises(ReadError, match=r"line 1: .* below a header of RecBole"):
        read_recbole_titles(path)


def test_ml_1m_is_read_as_grouplens_publishes_it(tmp_path: Path) -> None:
    write(tmp_path, "ratings.dat", "1::20::5::978000000\n1::10::3::978000001\n")
    write(tmp_path, "movies.dat", "10::Fiancée (1990)::Drama\n20::B (1991)::Comedy|Drama\n", "latin-1")
    data = loaded("ml-1m", tmp_path)
    assert rows(data.events) == [(1, 20, 978000000), (1, 10, 978000001)]
    assert data.titles == {10: "Fiancée (1990)", 20: "B (1991)"}


def test_ml_1m_is_read_in_its_prepared_form(tmp_path: Path) -> None:
    write(tmp_path, "ratings.tsv.gz", "user_id\tmovie_id\ttimestamp\n1\t20\t978000000\n")
    write(tmp_path, "movies.dat", "20::B (1991)::Comedy\n")
    data = loaded("ml-1m", tmp_path)
    assert rows(data.events) == [(1, 20, 978000000)]
    assert data.titles == {20: "B (1991)"}


@pytest.mark.parametrize("name", ["ml-20m", "ml-32m", "ml-latest-small"])
def test_the_csv_sets_of_movielens_are_read(tmp_path: Path, name: str) -> None:
    write(tmp_path, "ratings.csv", "userId,movieId,rating,timestamp\n1,20,2.5,1260000000\n")
    write(tmp_path, "movies.csv", 'movieId,title,genres\n20,"A, the B (1991)",Comedy\n')
    data = loaded(name, tmp_path)
    assert rows(data.events) == [(1, 20, 1260000000)]
    assert data.titles == {20: "A, the B (1991)"}


def test_a_bad_rating_of_ml_1m_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "ratings.dat", "1::20::5::978000000\n1::10::3\n")
    with pytest.raises(DataError, match=f"{path}, line 2"):
        loaded("ml-1m", tmp_path)


# Netflix


def test_netflix_blocks_become_events_of_their_movie(tmp_path: Path) -> None:
    first = write(
        tmp_path, "combined_data_1.txt", "3:\n11,4,1970-01-02\n12,5,1970-01-03\n4:\n11,1,2005-12-31\n"
    )
    second = write(tmp_path, "combined_data_2.txt", "5:\n13,2,1970-01-01\n")
    events = read_netflix([first, second])
    assert rows(events) == [(11, 3, DAY), (12, 3, 2 * DAY), (11, 4, 13148 * DAY), (13, 5, 0)]
    assert events.time_unit == "us"


def test_a_netflix_movie_goes_on_over_the_end_of_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{user},3,2000-01-01" for user in range(500)]
    path = write(tmp_path, "mv_0000007.txt", "7:\n" + "\n".join(lines) + "\n")

    def small_blocks(*args: Any, **kwargs: Any) -> Any:
        return scan(*args, **kwargs, block=256)

    monkeypatch.setattr("grela.data.sources.netflix.scan", small_blocks)
    events = read_netflix([path])
    assert len(list(events.batches())) > 10
    assert [(user, item) for user, item, _ in rows(events)] == [(user, 7) for user in range(500)]


@pytest.mark.parametrize("bad", ["11,4", "11,4,2005-13-01", "x,4,2005-01-01", "", "11,4,2005-01-01,9", "4"])
def test_a_bad_netflix_line_is_named(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path, "combined_data_1.txt", f"3:\n12,5,2005-01-01\n{bad}\n4:\n")
    with pytest.raises(ValueInDataError, match=f"{path}, line 3: got {bad!r}, expected"):
        rows(read_netflix([path]))


def test_a_netflix_rating_before_any_movie_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "combined_data_1.txt", "12,5,2005-01-01\n3:\n")
    with pytest.raises(ReadError, match=f"{path}, line 1: a rating comes before any"):
        rows(read_netflix([path]))


def test_netflix_titles_hold_commas_and_latin_1(tmp_path: Path) -> None:
    path = write(tmp_path, "movie_titles.csv", "1,1990,Où, là\n2,NULL,Zwei\n", "latin-1")
    assert read_netflix_titles(path) == {1: "Où, là (1990)", 2: "Zwei"}
    bad = write(tmp_path, "bad.csv", "1,1990,A\nNULL\n")
    with pytest.raises(ReadError, match=f"{bad}, line 2: got 'NULL'"):
        read_netflix_titles(bad)


def test_a_part_of_netflix_does_not_pass_for_the_whole(tmp_path: Path) -> None:
    write(tmp_path, "combined_data_1.txt", "3:\n12,5,2005-01-01\n")
    with pytest.raises(DataError, match=r"holds 1 of the 4 files combined_data_\*\.txt"):
        loaded("netflix-prize", tmp_path)
    for n in (2, 3, 4):
        write(tmp_path, f"combined_data_{n}.txt", f"{n}:\n12,5,2005-01-01\n")
    assert [item for _, item, _ in rows(loaded("netflix-prize", tmp_path).events)] == [3, 2, 3, 4]


# tab-separated files without a header


@pytest.mark.parametrize("name", ["LFM-1b_LEs.txt", "LFM-1b_LEs.txt.gz"])
def test_lfm_events_are_of_tracks(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "31\t2\t4\t5\t1385000000\n31\t2\t4\t6\t1385000001\n")
    data = loaded("lfm-1b", tmp_path)
    assert rows(data.events) == [(31, 5, 1385000000), (31, 6, 1385000001)]
    assert data.titles == {}


@pytest.mark.parametrize("name", ["loc-gowalla_totalCheckins.txt", "loc-gowalla_totalCheckins.txt.gz"])
def test_gowalla_check_ins_are_timed_in_utc(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "0\t1970-01-02T00:00:01Z\t30.2\t-97.7\t22\n")
    assert rows(loaded("gowalla", tmp_path).events) == [(0, 22, DAY + 1_000_000)]


Reader = Callable[[Sequence[Path]], Events]
GOOD_LFM = "31\t2\t4\t5\t1385000000\n"
GOOD_GOWALLA = "0\t2010-10-19T23:55:27Z\t30.2\t-97.7\t22\n"


@pytest.mark.parametrize(
    ("reader", "good", "bad", "message"),
    [
        (read_lfm, GOOD_LFM, "31\t2\t4\tx\t1385000000", "line 3, track_id: .*'x'"),
        (read_lfm, GOOD_LFM, "31\t2\t4\t5\t", "line 3, timestamp"),
        (read_lfm, GOOD_LFM, "31\t2\t4", "line 3: .*got 3"),
        (read_lfm, GOOD_LFM, "", "line 3"),
        (read_gowalla, GOOD_GOWALLA, "0\t2010-13-19T23:55:27Z\t30.2\t-97.7\t22", "line 3, check-in time"),
        (read_gowalla, GOOD_GOWALLA, "0\t2010-10-19T23:55:27Z\t30.2\t-97.7\t", "line 3, location id"),
        (read_gowalla, GOOD_GOWALLA, "0\t2010-10-19T23:55:27Z\t30.2", "line 3: .*got 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, reader: Reader, good: str, bad: str, message: str) -> None:
    path = write(tmp_path, "log.txt", f"{good}{good}{bad}\n{good}")
    with pytest.raises(DataError, match=f"{path}, {message}"):
        rows(reader([path]))


def test_a_line_number_counts_through_blocks(tmp_path: Path) -> None:
    path = write(tmp_path, "log.txt", "1\t2\n" * 5000 + "1\tx\n")
    with pytest.raises(ValueInDataError, match=f"{path}, line 5001, b"):
        list(scan(path, ["a", "b"], {"a": pa.int64(), "b": pa.int64()}, block=1024))


def test_a_line_longer_than_a_block_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "log.txt", "1\t2\n" + "1\t" + "2" * 5000 + "\n")
    with pytest.raises(ReadError, match="a line longer than 1,024 bytes"):
        list(scan(path, ["a", "b"], {"a": pa.int64(), "b": pa.int64()}, block=1024))


@pytest.mark.parametrize("reader", [read_lfm, read_gowalla, read_tmall, read_netflix])
def test_an_empty_file_is_refused(tmp_path: Path, reader: Reader) -> None:
    path = write(tmp_path, "log.txt", "")
    with pytest.raises(DataError, match=f"{path} is empty"):
        rows(reader([path]))


@pytest.mark.parametrize(("reader", "good"), [(read_lfm, GOOD_LFM), (read_gowalla, GOOD_GOWALLA)])
def test_an_archive_that_breaks_off_is_refused(tmp_path: Path, reader: Reader, good: str) -> None:
    path = tmp_path / "log.txt.gz"
    path.write_bytes(gzip.compress(good.encode() * 1000)[:-12])
    with pytest.raises(ReadError, match=f"{path} cannot be read"):
        rows(reader([path]))


# Tmall

TMALL_HEADER = "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type\n"


def test_tmall_days_are_dates_of_2014(tmp_path: Path) -> None:
    write(tmp_path, "user_log_format1.csv", f"{TMALL_HEADER}32,32,8,28,26,829,0\n32,84,9,28,,1111,2\n")
    events = loaded("tmall", tmp_path).events
    assert rows(events) == [(32, 32, 16311 * DAY), (32, 84, 16385 * DAY)]


@pytest.mark.parametrize(
    ("bad", "column"),
    [
        ("32,32,8,28,26,832,0", "time_stamp"),
        ("32,32,8,28,26,,0", "time_stamp"),
        ("a,32,8,28,26,829,0", "user_id"),
    ],
)
def test_a_bad_tmall_line_is_named(tmp_path: Path, bad: str, column: str) -> None:
    path = write(tmp_path, "user_log_format1.csv", f"{TMALL_HEADER}32,32,8,28,26,829,0\n{bad}\n")
    with pytest.raises(ValueInDataError, match=f"{path}, line 3, {column}"):
        rows(read_tmall([path]))


def test_tmall_without_its_header_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "user_log_format1.csv", "32,32,8,28,26,829,0\n")
    with pytest.raises(DataError, match=f"{path}, line 1: .*expected the header user_id,item_id"):
        rows(read_tmall([path]))


# Steam


def test_steam_lines_are_python_dictionaries(tmp_path: Path) -> None:
    review = "{u'username': u'\\xe9lan', u'hours': 1.5, u'product_id': u'070', u'date': u'1970-01-03', u'text': u'ok'}"
    write(tmp_path, "steam_reviews.json.gz", f"{review}\n")
    games = "{u'app_name': u'Eins', u'id': u'070'}\n{u'title': u'Zwei', u'id': u'080'}\n{u'id': u'090'}\n"
    write(tmp_path, "steam_games.json.gz", games)
    data = loaded("steam", tmp_path)
    assert rows(data.events) == [("élan", "070", 2 * DAY)]
    assert data.titles == {"070": "Eins", "080": "Zwei"}


GOOD_STEAM = "{'username': 'a', 'product_id': '1', 'date': '2017-01-01'}\n"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{'username': 'a', 'product_id': '1'}", "date: got None"),
        ("{'username': 'a', 'product_id': 1, 'date': '2017-01-01'}", "product_id: got 1"),
        ("{'username': '', 'product_id': '1', 'date': '2017-01-01'}", "username: got ''"),
        ("{'username': 'a', 'product_id': '1', 'date': '2017-02-30'}", "date: got '2017-02-30'"),
    ],
)
def test_a_bad_steam_value_is_named(tmp_path: Path, bad: str, message: str) -> None:
    path = write(tmp_path, "steam_reviews.json", f"{GOOD_STEAM}{bad}\n")
    with pytest.raises(ValueInDataError, match=f"{path}, line 2, {message}"):
        rows(read_steam([path]))


@pytest.mark.parametrize("bad", ["{'a': ", "[1, 2]", "((" * 5000, "{'a': null}", "\x00"])
def test_a_steam_line_that_is_no_dictionary_is_named(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path, "steam_reviews.json", f"{GOOD_STEAM}{bad}\n")
    with pytest.raises(ReadError, match=f"{path}, line 2: got .*expected a"):
        rows(read_steam([path]))


def test_a_steam_line_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = write(tmp_path, "steam_reviews.json", f"__import__('pathlib').Path({str(mark)!r}).touch()\n")
    with pytest.raises(ReadError, match=r"line 1: .*expected a Python dictionary"):
        rows(read_steam([path]))
    with pytest.raises(ReadError, match=r"line 1: .*expected a Python dictionary"):
        read_steam_titles(path)
    assert not mark.exists()


def test_numbered_lines_are_bounded_text(tmp_path: Path) -> None:
    long = write(tmp_path, "long.txt", "ab\n" + "x" * 100 + "\n")
    with pytest.raises(ReadError, match="line 2 is longer than 10 bytes"):
        list(numbered_lines(long, limit=10))
    (tmp_path / "mixed.txt").write_bytes(b"ab\n\nc\xe9\n")
    with pytest.raises(ReadError, match=r"mixed\.txt, line 3 is not utf-8 text"):
        list(numbered_lines(tmp_path / "mixed.txt"))
    assert list(numbered_lines(tmp_path / "mixed.txt", encoding="latin-1")) == [(1, "ab"), (3, "cé")]
    broken = tmp_path / "broken.txt.gz"
    broken.write_bytes(gzip.compress(b"line\n" * 1000)[:-12])
    with pytest.raises(ReadError, match=r"broken\.txt\.gz cannot be read after line"):
        list(numbered_lines(broken))


# Amazon, Yambda


def test_amazon_ratings_are_read_with_titles(tmp_path: Path) -> None:
    write(tmp_path, "Gift_Cards.csv.gz", "user_id,parent_asin,rating,timestamp\nAE2,B00X,5.0,1545114577507\n")
    write(tmp_path, "meta_Gift_Cards.jsonl.gz", '{"title": "A card", "parent_asin": "B00X", "store": null}\n')
    data = loaded("amazon-reviews-2023/Gift_Cards", tmp_path)
    assert rows(data.events) == [("AE2", "B00X", 1545114577507)]
    assert data.titles == {"B00X": "A card"}


def test_amazon_reviews_are_read_by_product_and_not_by_variety(tmp_path: Path) -> None:
    review = '{"title": "fine", "asin": "B00Y", "parent_asin": "B00X", "user_id": "AE2", "timestamp": 1545}\n'
    write(tmp_path, "Gift_Cards.jsonl", review)
    assert rows(loaded("amazon-reviews-2023/Gift_Cards", tmp_path).events) == [("AE2", "B00X", 1545)]


def test_a_bad_amazon_review_is_named(tmp_path: Path) -> None:
    review = '{"parent_asin": "B00X", "user_id": "AE2", "timestamp": 1545}\n'
    path = write(tmp_path, "Gift_Cards.jsonl", f"{review}{review[:20]}\n")
    with pytest.raises(DataError, match=f"{path}.*2"):
        loaded("amazon-reviews-2023/Gift_Cards", tmp_path)


@pytest.mark.parametrize("name", ["flat/50m/listens.parquet", "50m/listens.parquet"])
def test_yambda_listens_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    columns = {
        "uid": pa.array([100, 100], pa.uint32()),
        "timestamp": pa.array([5, 10], pa.uint32()),
        "item_id": pa.array([7, 8], pa.uint32()),
        "is_organic": pa.array([1, 0], pa.uint8()),
    }
    pq.write_table(pa.table(columns), path)
    data = loaded("yambda/50m", tmp_path)
    assert rows(data.events) == [(100, 7, 5), (100, 8, 10)]
    assert data.events.schema.field("user").type == pa.int64()
