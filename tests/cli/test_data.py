"""`grela data`: what there is, on any width of terminal, and getting it."""

import gzip

import pytest

from fit_cases import log
from grela.data.sources import SOURCES


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without data sets: an empty cache, and no GRELA_DATA."""
    monkeypatch.delenv("GRELA_DATA", raising=False)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_the_list_has_every_set_and_fits(grela, nowhere, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    done = grela("data", "list")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert [line.partition("/")[0] for line in lines if not line.startswith(" ")] == list(SOURCES)
    assert lines[lines.index("ml-100k") + 1] == "    943 users, 1,682 items, 100,000 events"
    assert done.out.count("not here") == len(SOURCES)


def test_a_set_in_the_folder_of_data_sets_is_shown_and_gotten_from_there(
    grela, nowhere, monkeypatch, tmp_path
):
    folder = tmp_path / "sets" / "ml-1m"
    folder.mkdir(parents=True)
    log().with_columns(rating=1).select("user_id", "item_id", "rating", "timestamp").write_csv(
        folder / "ratings.dat", separator=":", include_header=False
    )
    text = (folder / "ratings.dat").read_text().replace(":", "::")
    (folder / "ratings.dat").write_text(text)
    monkeypatch.setenv("GRELA_DATA", str(tmp_path / "sets"))
    assert f"    {folder}\n" in grela("data", "list").out
    done = grela("data", "get", "ml-1m")
    assert (done.code, done.out) == (0, f"{folder}\n")
    assert grela("data", "get", "ml-1m", "--folder", folder).out == f"{folder}\n"


def test_an_unknown_set_lists_those_there_are(grela, nowhere):
    done = grela("data", "get", "ml-99")
    assert (done.code, done.out) == (1, "")
    assert "no data set is called 'ml-99'" in done.err
    assert all(name in done.err for name in SOURCES)


def test_a_set_that_no_program_can_download_says_what_to_put_where(grela, nowhere):
    done = grela("data", "get", "lfm-1b")
    assert (done.code, done.out) == (1, "")
    assert "and put what you downloaded into" in done.err
    assert "GRELA_DATA" in done.err


def test_a_folder_of_data_sets_that_is_none_is_named(grela, nowhere, monkeypatch, tmp_path):
    monkeypatch.setenv("GRELA_DATA", str(tmp_path / "missing"))
    for arguments in (["data", "list"], ["data", "get", "ml-1m"]):
        done = grela(*arguments)
        assert (done.code, done.out) == (1, "")
        assert "GRELA_DATA is" in done.err


def test_a_catalogued_set_is_fitted_by_its_name_with_its_titles(
    grela, nowhere, inputs, monkeypatch, tmp_path
):
    folder = tmp_path / "sets" / "ml-1m"
    folder.mkdir(parents=True)
    rows = log().iter_rows()
    (folder / "ratings.dat").write_text("".join(f"{u}::{i}::5::{t}\n" for u, i, t in rows))
    films = "".join(f"{i}::Café {i} (1999)::Drama\n" for i in range(500, 520))
    (folder / "movies.dat").write_bytes(films.encode("latin-1"))
    monkeypatch.setenv("GRELA_DATA", str(tmp_path / "sets"))
    done = grela("fit", "ml-1m", "--out", tmp_path / "run", "--config", inputs / "settings.toml")
    assert done.code == 0, done.err
    assert "Café" in grela("recommend", tmp_path / "run", "--user", "103").out


def test_a_gzipped_log_is_fitted_too(grela, inputs, tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress((inputs / "log.csv").read_bytes()))
    done = grela("fit", path, "--out", tmp_path / "run", "--config", inputs / "settings.toml")
    assert done.code == 0
    path.write_bytes(path.read_bytes()[:200])
    done = grela("fit", path, "--out", tmp_path / "other")
    assert done.code == 1
    assert "log.csv.gz" in done.err
