"""What all commands share: help with an example, exit codes, streams, pipes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_cases import command, environment

import grela as library
from grela.cli import main as main_module
from grela.cli.main import cli


def commands(group: click.Group, *before: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [before]
    for name, one in group.commands.items():
        path = (*before, name)
        found += commands(one, *path) if isinstance(one, click.Group) else [path]
    return found


ALL = commands(cli)


def test_the_commands_are_these():
    names = [
        *("ablate", "compare", "consume", "convert", "data", "data get", "data list", "data shard"),
        *("evaluate", "export", "fit", "inspect"),
        *("items", "items add", "items list", "items remove", "recommend", "serve"),
    ]
    assert sorted(" ".join(path) for path in ALL if path) == names


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(grela, path):
    for flag in ("--help", "-h"):
        done = grela(*path, flag)
        assert (done.code, done.err) == (0, "")
    text, example = done.out, " ".join(["grela", *path])
    lines = [line.strip() for line in text.splitlines()]
    assert any(line.startswith(example) and "[OPTIONS]" not in line for line in lines), text
    assert max(len(line) for line in text.splitlines()) <= 100
    options = text.partition("Options:")[2].splitlines()
    assert all(line.split("  ")[-1].strip() for line in options if line.strip().startswith("--"))


def test_the_version_is_the_librarys(grela):
    done = grela("--version")
    assert (done.code, done.out) == (0, f"grela, version {library.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unheard-of"], "unheard-of"),
        (["fit"], "EVENTS"),
        (["fit", "log.csv"], "--out"),
        (["recommend"], "RUN"),
        (["data", "unheard-of"], "unheard-of"),
        (["evaluate", "run", "extra"], "extra"),
    ],
)
def test_usage_errors_exit_with_2_and_say_why_on_the_error_stream(grela, arguments, message):
    done = grela(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_an_interrupt_exits_with_130(grela, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module.cli.commands["inspect"], "callback", interrupted)
    done = grela("inspect", "run")
    assert done.code == 130
    assert done.err.strip() == "grela: interrupted"


@pytest.mark.skipif(os.name != "posix", reason="pipes close so on POSIX")
def test_a_reader_that_closes_the_pipe_is_no_error(fitted_run):
    # More than a pipe holds, so that something is left to write when the reader goes.
    histories = ["--history", "500,501"] * 400
    process = command("recommend", fitted_run, *histories, "-k", "10")
    assert process.stdout.readline() == "for this history:\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 0
    process.stderr.close()


def test_modules_in_the_working_folder_are_not_imported(tmp_path):
    (tmp_path / "csv.py").write_text("raise RuntimeError('this is not the library csv')")
    script = shutil.which("grela", path=str(Path(sys.executable).parent))
    assert script, "the console script is not installed beside this Python"
    done = subprocess.run(
        [script, "--version"], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
