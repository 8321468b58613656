"""The benchmark of load, on a small run and for seconds only."""

import json
import shutil
import sys

import load
import pytest

from fit_cases import fitted

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@needs_wrk
@pytest.mark.slow
def test_states_and_re_encoding_are_measured_side_by_side(tmp_path, monkeypatch, capsys):
    fitted().save(tmp_path / "run")
    where = [str(tmp_path / "run"), "--json", str(tmp_path / "load.json")]
    loops = ["--seconds", "1", "--connections", "2", "--rates", "50"]
    cases = ["--workers", "1", "--windows", "5", "--durable-only"]
    monkeypatch.setattr(sys, "argv", ["load.py", *where, *loops, *cases])
    load.main()
    records = json.loads((tmp_path / "load.json").read_text())["records"]
    assert [(one["window"], one["loop"]) for one in records] == [(0, "closed"), (0, "open"), (5, "closed")]
    assert all(one["requests"] > 0 and not one["bad"] for one in records)
    assert records[1]["requests"] <= 150  # as many as asked for, at most
    assert "re-encodes 5, durable, workers 1" in capsys.readouterr().out


@needs_wrk
@pytest.mark.slow
def test_users_of_given_lengths_are_asked_alone_and_memory_is_followed(tmp_path, monkeypatch, capsys):
    fitted().save(tmp_path / "run")
    little = ["--connections", "2", "--workers", "1", "--lengths", "3", "50", "--soak", "0.4"]
    monkeypatch.setattr(sys, "argv", ["load.py", str(tmp_path / "run"), *little])
    load.main()
    said = capsys.readouterr().out
    assert "0 bad" in said
    assert "memory after a fifth" in said
