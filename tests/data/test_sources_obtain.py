"""The order in which a data set is looked for, and what is said and done when it is nowhere."""

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from grela.data.sources import SOURCES, data_home, get, listing, load, obtain, wheel
from grela.data.sources.catalogue import lookup
from grela.data.sources.source import RemoteFile, Source
from grela.errors import SourceError

RATINGS = {"explicit": 1, "named": 2, "cache": 3, "archive": 4, "publisher": 5}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "cache"
    monkeypatch.setattr("grela.data.sources.places.platformdirs.user_cache_path", lambda name: home)
    return home


@pytest.fixture
def named(tmp_path: Path) -> Path:
    (tmp_path / "named").mkdir()
    return tmp_path / "named"


def put(folder: Path, where: str) -> None:
    """The log of a set of one event, whose user tells where it lies."""
    folder.mkdir(parents=True)
    (folder / "ratings.dat").write_text(f"{RATINGS[where]}::10::3::978000001\n")
    (folder / "movies.dat").write_text("10::A (1990)::Drama\n")


def archive(where: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("ml-1m/ratings.dat", f"{RATINGS[where]}::10::3::978000001\n")
        file.writestr("ml-1m/movies.dat", "10::A (1990)::Drama\n")
    return stream.getvalue()


def offer(monkeypatch: pytest.MonkeyPatch, name: str, body: bytes) -> Source:
    """The catalogue's source, as if its publisher's only archive were `body`."""
    file = replace(SOURCES[name].files[0], size=len(body), md5=hashlib.md5(body).hexdigest())
    monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], files=(file,)))
    return SOURCES[name]


class Response(io.BytesIO):
    headers = Message()


def publisher(body: bytes) -> Callable[[str], Any]:
    return lambda url: Response(body)


def unreachable(url: str) -> Any:
    raise OSError("no route to host")


def never(url: str) -> Any:
    raise AssertionError(f"{url} was opened")


def where(name: str = "ml-1m", **options: Any) -> str:
    data = load(name, say=options.pop("say", lambda line: None), **options)
    user = data.events.table()["user"][0].as_py()
    return next(key for key, value in RATINGS.items() if value == user)


def test_a_set_is_looked_for_in_order(
    tmp_path: Path, cache: Path, named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"GRELA_DATA": str(named)}
    offer(monkeypatch, "ml-1m", archive("publisher"))
    assert where(environ=environ, open_url=publisher(archive("publisher"))) == "publisher"
    assert where(environ=environ, open_url=never) == "publisher"  # which is in the cache now
    (cache / "ml-1m" / "ratings.dat").write_text("3::10::3::978000001\n")
    assert where(environ=environ, open_url=never) == "cache"
    put(named / "ml-1m", "named")
    assert where(environ=environ, open_url=never) == "named"
    put(tmp_path / "mine", "explicit")
    assert where(environ=environ, folder=tmp_path / "mine", open_url=never) == "explicit"


def test_a_folder_that_archives_unpack_to_is_found(tmp_path: Path) -> None:
    put(tmp_path / "mine" / "ml-1m", "explicit")
    assert where(folder=tmp_path / "mine", environ={}, open_url=never) == "explicit"


def test_an_archive_as_downloaded_is_unpacked_into_the_cache(
    cache: Path, named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "ml-1m", archive("archive"))
    (named / "ml-1m").mkdir()
    (named / "ml-1m" / "ml-1m.zip").write_bytes(archive("archive"))
    assert where(environ={"GRELA_DATA": str(named)}, open_url=never) == "archive"
    assert (cache / "ml-1m" / "ratings.dat").is_file()
    assert [p.name for p in (named / "ml-1m").iterdir()] == ["ml-1m.zip"]


def test_an_archive_that_was_changed_is_not_used(
    cache: Path, named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (named / "ml-1m").mkdir()
    (named / "ml-1m" / "ml-1m.zip").write_bytes(archive("archive"))
    with pytest.raises(SourceError, match="expected 5,917,549"):
        where(environ={"GRELA_DATA": str(named)}, open_url=never)
    assert not cache.exists()


def test_an_explicit_folder_without_the_set_is_an_error_and_nothing_else_is_tried(
    tmp_path: Path, named: Path
) -> None:
    put(named / "ml-1m", "named")
    with pytest.raises(SourceError, match=f"{tmp_path / 'mine'} holds no files of ml-1m"):
        where(folder=tmp_path / "mine", environ={"GRELA_DATA": str(named)}, open_url=never)


def test_the_archive_is_gone_after_it_was_unpacked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "ml-1m", archive("publisher"))
    folder = get("ml-1m", say=lambda line: None, environ={}, open_url=publisher(archive("publisher")))
    assert folder == cache / "ml-1m"
    assert sorted(p.name for p in folder.iterdir()) == ["movies.dat", "ratings.dat"]


def test_get_downloads_into_a_folder_that_is_given(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "ml-1m", archive("publisher"))
    body = publisher(archive("publisher"))
    folder = get("ml-1m", folder=tmp_path / "mine", say=lambda line: None, environ={}, open_url=body)
    assert folder == tmp_path / "mine"
    assert not (cache / "ml-1m").exists()
    assert get("ml-1m", folder=tmp_path / "mine", say=lambda line: None, environ={}, open_url=never) == folder


def test_get_downloads_every_file_that_is_missing(cache: Path) -> None:
    asked: list[str] = []

    def answer(url: str) -> Any:
        asked.append(url.rpartition("/")[2])
        return Response(b"x")

    assert get("steam", say=lambda line: None, environ={}, open_url=answer) == cache / "steam"
    assert asked == ["steam_games.json.gz", "steam_reviews.json.gz"]
    (cache / "steam" / "steam_reviews.json.gz").unlink()
    get("steam", say=lambda line: None, environ={}, open_url=answer)
    assert asked[2:] == ["steam_reviews.json.gz"]


def test_a_file_in_a_folder_of_its_own_is_downloaded(cache: Path) -> None:
    get("yambda/500m", say=lambda line: None, environ={}, open_url=publisher(b"x"))
    assert (cache / "yambda" / "flat" / "500m" / "listens.parquet").read_bytes() == b"x"


def test_a_set_that_cannot_be_had_says_what_to_put_where(cache: Path, named: Path) -> None:
    with pytest.raises(SourceError) as caught:
        where(environ={"GRELA_DATA": str(named)}, open_url=unreachable)
    message = str(caught.value)
    assert "no route to host" in message
    assert "https://grouplens.org/datasets/movielens/1m/" in message
    assert "ml-1m.zip  https://files.grouplens.org/datasets/movielens/ml-1m.zip" in message
    assert str(named / "ml-1m") in message
    assert "GRELA_DATA" in message
    with pytest.raises(SourceError, match=str(cache / "ml-1m")):
        where(environ={}, open_url=unreachable)


@pytest.mark.parametrize("name", ["netflix-prize", "lfm-1b", "tmall"])
def test_a_set_without_an_address_names_its_files_and_page(name: str) -> None:
    with pytest.raises(SourceError, match="no program can download it") as caught:
        where(name, environ={}, open_url=never)
    for expected in (SOURCES[name].publisher_url, *(file.name for file in SOURCES[name].files)):
        assert expected in str(caught.value)


def test_following_the_instructions_makes_the_set_available(
    named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"GRELA_DATA": str(named)}
    offer(monkeypatch, "ml-1m", archive("archive"))
    with pytest.raises(SourceError) as caught:
        where(environ=environ, open_url=unreachable)
    folder = Path(str(caught.value).split("put what you downloaded into ")[1].splitlines()[0])
    folder.mkdir()
    (folder / "ml-1m.zip").write_bytes(archive("archive"))
    assert where(environ=environ, open_url=unreachable) == "archive"


def test_terms_are_said_once_per_cache(named: Path) -> None:
    put(named / "ml-1m", "named")
    first: list[str] = []
    second: list[str] = []
    where(environ={"GRELA_DATA": str(named)}, say=first.append)
    where(environ={"GRELA_DATA": str(named)}, say=second.append)
    assert sum(SOURCES["ml-1m"].licence in line for line in first) == 1
    assert not any(SOURCES["ml-1m"].licence in line for line in second)
    assert str(named / "ml-1m") in second[0]


def test_a_cache_that_cannot_be_written_says_the_terms_again(cache: Path, named: Path) -> None:
    put(named / "ml-1m", "named")
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        lines: list[str] = []
        where(environ={"GRELA_DATA": str(named)}, say=lines.append)
        assert any(SOURCES["ml-1m"].licence in line for line in lines)
        assert "will be shown again" in lines[-1]


def test_a_cache_that_cannot_be_written_is_an_error_for_a_download(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(SourceError, match=r"cannot be downloaded: .*Not a directory"):
        where(environ={}, open_url=publisher(archive("publisher")))


def test_a_set_without_its_titles_goes_by_ids_and_says_so(tmp_path: Path) -> None:
    put(tmp_path / "mine", "explicit")
    (tmp_path / "mine" / "movies.dat").unlink()
    lines: list[str] = []
    data = load("ml-1m", folder=tmp_path / "mine", say=lines.append, environ={})
    assert data.titles == {}
    assert any("has no movies.dat" in line for line in lines)


def test_the_data_home_is_the_named_folder_or_the_cache(cache: Path, named: Path) -> None:
    assert data_home({"GRELA_DATA": str(named)}) == named
    assert data_home({"GRELA_DATA": ""}) == cache
    assert data_home({}) == cache


def test_a_named_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"GRELA_DATA is .* which is not a folder"):
        where(environ={"GRELA_DATA": str(tmp_path / "nowhere")}, open_url=never)


def test_the_listing_says_what_is_here(named: Path) -> None:
    put(named / "ml-1m", "named")
    (named / "yambda" / "50m").mkdir(parents=True)
    (named / "yambda" / "50m" / "listens.parquet").touch()
    (named / "ml-20m").mkdir()
    (named / "ml-20m" / "ml-20m.zip").touch()
    rows = {row.name: row for row in listing({"GRELA_DATA": str(named)})}
    assert list(rows) == list(SOURCES)
    here = {name: row.here for name, row in rows.items() if row.here != "not here"}
    assert here == {name: str(named / name) for name in ("ml-1m", "ml-20m", "yambda")}
    assert rows["ml-1m"].counts.users == 6040


# the catalogue


def test_the_catalogue_holds_the_promised_sets() -> None:
    promised = (
        "ml-100k ml-1m ml-20m ml-32m netflix-prize lfm-1b tmall gowalla amazon-reviews-2023 steam yambda"
    )
    assert set(SOURCES) == {*promised.split(), "ml-latest-small"}


def test_the_documentation_states_what_the_catalogue_states() -> None:
    text = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    for source in SOURCES.values():
        numbers = (source.counts.users, source.counts.items, source.counts.events)
        row = " | ".join("–" if n is None else f"{n:,}" for n in numbers)
        assert f"| `{source.name}` | {row} | {source.licence} |" in text


def every_source() -> list[Source]:
    parts = [[s] if s.variant is None else [s.variant(v) for v in s.variants] for s in SOURCES.values()]
    return [source for group in parts for source in group]


@pytest.mark.parametrize("source", every_source(), ids=lambda s: s.name)
def test_every_source_says_what_it_is_and_how_to_get_it(source: Source) -> None:
    assert source.licence
    assert source.citation
    assert source.files
    assert source.publisher_url.startswith("http")
    assert all(file.url is None or file.url.startswith("https://") for file in source.files)
    named = {name for file in source.files for _, name in file.members} | {file.name for file in source.files}
    assert any(Path(name).match(layout.events) for layout in source.layouts for name in named)
    assert lookup(source.name).files == source.files


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SourceError, match="no data set is called 'ml-2m'; there are ml-100k, ml-1m"):
        lookup("ml-2m")


@pytest.mark.parametrize("name", ["yambda", "yambda/", "yambda/6b"])
def test_a_set_in_parts_lists_its_parts(name: str) -> None:
    with pytest.raises(SourceError, match="ask for one of yambda/50m, yambda/500m, yambda/5b"):
        lookup(name)


def test_a_set_without_parts_has_none() -> None:
    with pytest.raises(SourceError, match="ml-1m has no parts"):
        lookup("ml-1m/x")


# MovieLens-100K out of the wheel


@pytest.mark.slow
def test_ml_100k_comes_out_of_the_wheel_when_grouplens_is_not_reached(cache: Path) -> None:
    lines: list[str] = []
    try:
        data = load("ml-100k", say=lines.append, environ={}, open_url=unreachable)
    except SourceError as error:
        if "pip cannot download" in str(error):
            pytest.skip(f"no package index can be reached: {error}")
        raise
    table = data.events.table()
    users, items = table["user"].unique(), table["item"].unique()
    assert (len(table), len(users), len(items)) == (100_000, 943, 1_682)
    assert set(items.to_pylist()) <= set(data.titles)
    assert data.titles[50] == "Star Wars (1977)"
    assert "no route to host" in lines[0]
    assert "recbole" in lines[1]
    assert sorted(p.name for p in (cache / "ml-100k").iterdir()) == ["ml-100k.inter", "ml-100k.item"]


def fake_pip(
    monkeypatch: pytest.MonkeyPatch, *, code: int = 0, stderr: str = "", body: bytes | None = None
) -> list[list[str]]:
    """pip, answering with `code` and `stderr`, or writing `body` as the wheel."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if body is not None:
            (Path(command[command.index("--dest") + 1]) / wheel.WHEEL.name).write_bytes(body)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr("grela.data.sources.wheel.subprocess.run", run)
    return calls


def test_the_wheel_is_downloaded_by_this_python_and_never_installed_or_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_pip(monkeypatch)
    with pytest.raises(SourceError, match="pip downloaded no recbole"):
        wheel.ml100k_from_wheel(tmp_path, lambda line: None)
    assert calls[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "recbole==1.2.1"} <= set(calls[0])


def test_a_wheel_that_was_changed_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, body=b"x" * 2_130_151)
    with pytest.raises(SourceError, match=r"has sha256 .* expected 9c9948202011"):
        wheel.ml100k_from_wheel(tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out").exists()


def test_without_pip_it_says_how_to_have_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, code=1, stderr="/usr/bin/python: No module named pip\n")
    with pytest.raises(SourceError, match=r"No module named pip \(install it with `python -m ensurepip`\)"):
        wheel.ml100k_from_wheel(tmp_path, lambda line: None)


def test_neither_publisher_nor_wheel_gives_both_reasons_and_instructions(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, code=1, stderr="ERROR: No matching distribution found for recbole==1.2.1\n")
    with pytest.raises(SourceError) as caught:
        load("ml-100k", say=lambda line: None, environ={}, open_url=unreachable)
    for expected in ("no route to host", "No matching distribution", "ml-100k.zip", str(cache / "ml-100k")):
        assert expected in str(caught.value)


def test_a_wheel_put_into_the_folder_is_used(
    named: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        inside = "recbole/dataset_example/ml-100k/ml-100k"
        file.writestr(
            f"{inside}.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n4\t2\t3\t9\n"
        )
        file.writestr(
            f"{inside}.item", "item_id:token\tmovie_title:token_seq\trelease_year:token\n2\tA\t1990\n"
        )
    small = replace(wheel.WHEEL, sha256=None, size=None)
    assert isinstance(small, RemoteFile)
    monkeypatch.setitem(SOURCES, "ml-100k", replace(SOURCES["ml-100k"], files=(small,)))
    (named / "ml-100k").mkdir()
    (named / "ml-100k" / wheel.WHEEL.name).write_bytes(stream.getvalue())
    data = load("ml-100k", say=lambda line: None, environ={"GRELA_DATA": str(named)}, open_url=never)
    assert data.events.table().num_rows == 1
    assert data.titles == {2: "A (1990)"}
    assert data.folder == cache / "ml-100k"


# real data


@pytest.mark.real_data
def test_the_prepared_sets_have_their_known_sizes() -> None:
    home = data_home()
    if home == data_home({}):
        pytest.skip("GRELA_DATA names no folder of data sets")
    known = {"ml-1m": (999_611, 6_040, 3_416), "ml-latest-small": (100_004, 671, 9_066)}
    for name, sizes in known.items():
        if obtain.find(SOURCES[name], home / name) is None:
            pytest.skip(f"{home} holds no {name}")
        data = load(name, folder=home / name, say=lambda line: None)
        table = data.events.table()
        items = set(table["item"].unique().to_pylist())
        assert (len(table), len(table["user"].unique()), len(items)) == sizes
        assert items <= set(data.titles)
