"""One small run made by the command line itself, for all tests that only read it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_cases import SETTINGS, TITLES

from fit_cases import log
from grela.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said on both streams."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def grela(capsys) -> Call:
    """Runs one command in this process."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Outcome(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """A folder with log.csv, titles.csv and settings.toml."""
    folder = tmp_path_factory.mktemp("inputs")
    log().write_csv(folder / "log.csv")
    (folder / "titles.csv").write_text(TITLES, encoding="utf-8")
    (folder / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def fitted_run(inputs, tmp_path_factory) -> Path:
    """The run of `grela fit log.csv`; tests only read it."""
    out = tmp_path_factory.mktemp("runs") / "small"
    titles, settings = ("--titles", inputs / "titles.csv"), ("--config", inputs / "settings.toml")
    arguments = ["fit", inputs / "log.csv", "--out", out, *titles, *settings]
    assert run([str(argument) for argument in arguments]) == 0
    return out
