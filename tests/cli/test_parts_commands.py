"""`grela data shard`, `grela fit` on what it wrote, `grela recommend --partitions`."""

import json
import shutil

import polars as pl


def test_a_log_is_sharded_fitted_and_recommended_from(grela, inputs, fitted_run, tmp_path):
    done = grela("data", "shard", inputs / "log.csv", "--out", tmp_path / "parts", "--partitions", 3)
    assert done.code == 0
    assert "360 events, 30 users, 20 items" in done.out
    assert "reading 1 files" in done.err
    settings, titles = ("--config", inputs / "settings.toml"), ("--titles", inputs / "titles.csv")
    assert grela("fit", tmp_path / "parts", "--out", tmp_path / "run", *settings, *titles).code == 0
    runs = [json.loads((run / "run.json").read_text()) for run in (tmp_path / "run", fitted_run)]
    assert runs[0]["fingerprint"] == runs[1]["fingerprint"]
    assert runs[0]["prepared"] == runs[1]["prepared"]
    weights = [(run / "model.safetensors").read_bytes() for run in (tmp_path / "run", fitted_run)]
    assert weights[0] == weights[1]
    lists = ("recommend", tmp_path / "run", "--all", "-k", 2)
    done = grela(*lists, "--out", tmp_path / "lists", "--partitions", 2)
    assert done.out == f"60 rows in 1 files in {tmp_path / 'lists'}\n"
    assert grela(*lists, "--out", tmp_path / "lists.parquet").code == 0
    found = pl.read_parquet(tmp_path / "lists" / "lists-00000-of-00001.parquet")
    assert found.equals(pl.read_parquet(tmp_path / "lists.parquet"))


def test_settings_of_the_preparation_come_from_the_file_and_the_command(grela, inputs, tmp_path):
    (tmp_path / "settings.toml").write_text('[preparation]\nrepeats = "first"\nmin_item_events = 2\n')
    least = ("--config", tmp_path / "settings.toml", "--min-item-events", 3, "--min-user-events", 2)
    assert (
        grela("data", "shard", inputs / "log.csv", "--out", tmp_path / "p", "--partitions", 2, *least).code
        == 0
    )
    prepared = json.loads((tmp_path / "p" / "manifest.json").read_text())["preparation"]
    assert prepared == {
        "min_user_events": 2,
        "min_item_events": 3,
        "repeats": "first",
        "memory_limit": "1GB",
    }


def test_what_does_not_go_together_is_said(grela, inputs, fitted_run, tmp_path):
    def refused(*arguments: object) -> str:
        done = grela(*arguments)
        assert done.code in (1, 2)
        return done.err

    lists = ("recommend", fitted_run)
    assert "--partitions goes with --all" in refused(*lists, "--user", 100, "--partitions", 2)
    assert "--ray goes with --partitions" in refused(
        *lists, "--all", "--out", tmp_path / "x", "--ray", "auto"
    )
    assert "--partitions N and --out FOLDER" in refused(*lists, "--all", "--partitions", 2)
    nothing = ("--out", tmp_path / "parts", "--partitions", 2)
    assert "grela data list` such as ml-100k" in refused("data", "shard", "ml-101k", *nothing)
    shard = ("data", "shard", inputs / "log.csv", "--out", tmp_path / "parts", "--partitions")
    assert "0 is not in the range" in refused(*shard, 0)
    assert grela(*shard, 2).code == 0
    assert "is not empty" in refused(*shard, 2)
    again = ("data", "shard", tmp_path / "parts", "--out", tmp_path / "again", "--partitions", 2)
    assert "is a log in parts already" in refused(*again)
    fit = ("fit", tmp_path / "parts", "--out", tmp_path / "run")
    assert "leave out --user" in refused(*fit, "--user", "user_id")
    assert "cannot add to it" in refused(*fit, "--from", fitted_run)
    assert "was prepared with" in refused(*fit, "--min-user-events", 2)
    shutil.rmtree(tmp_path / "parts")
    assert "neither a file nor a data set" in refused(*fit)
