"""What `grela serve` refuses before it serves."""

import subprocess
import sys

import pytest

from grela.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--host", "0.0.0.0"], {}, "no bearer token is set"),
        (["--host", "0.0.0.0"], {"GRELA_TOKEN": "short"}, "the bearer token has 5 characters"),
        (["--token-file", "nowhere"], {}, "cannot read the token file nowhere"),
        (["--workers", "0"], {}, "workers is 0, expected at least 1"),
        (["--port", "70000"], {}, "port is 70000, expected 0"),
        (["--rate", "0"], {}, "rate is 0.0, expected more than 0"),
        (["--memory", "0"], {}, "memory is 0 bytes"),
        (["--host", "192.0.2.1"], {"GRELA_TOKEN": "0123456789abcdef"}, "cannot listen on 192.0.2.1"),
        (["--store", "nowhere/events.sqlite"], {}, "nowhere/events.sqlite"),
    ],
)
def test_what_cannot_be_served_is_said(
    saved_run, tmp_path, monkeypatch, capsys, arguments, environment, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRELA_TOKEN", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    store = [] if "--store" in arguments else ["--store", str(tmp_path / "events.sqlite")]
    assert run(["serve", str(saved_run), *store, *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    for value in environment.values():
        assert value not in said


def test_a_folder_without_a_run_is_said(tmp_path, capsys):
    assert run(["serve", str(tmp_path), "--port", "0"]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_the_extra_is_named_where_it_is_not_installed(saved_run):
    without = "import sys; sys.modules['msgspec'] = None; from grela.cli.main import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", without, "serve", str(saved_run)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'grela[serve]'" in done.stderr
    assert "Traceback" not in done.stderr
