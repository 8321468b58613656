import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from benchmark_cases import BASE, git, saved_run
from commits import working_tree
from train import main

REPOSITORY = Path(__file__).parents[2]
TRAIN = REPOSITORY / "benchmarks" / "train.py"
TINY = [
    "--quick",
    "--form",
    "causal",
    "--window",
    "8",
    "--items",
    "20",
    "--positions",
    "64",
    "--threads",
    "1",
]


def worktrees() -> list[str]:
    return git(REPOSITORY, "worktree", "list", "--porcelain").splitlines()


def test_a_run_measures_every_case_in_its_own_process_and_saves_it(tmp_path, capsys):
    path = tmp_path / "run.json"
    code = main([*TINY, "--form", "causal", "bidirectional", "--seconds", "0.05", "--json", str(path)])
    assert code == 0, capsys.readouterr().err
    saved = json.loads(path.read_text())
    assert [record["case"]["form"] for record in saved["cases"]] == ["causal", "bidirectional"]
    for record in saved["cases"]:
        (repeat,) = record["this"]["repeats"]
        assert repeat["events_per_second"] == pytest.approx(repeat["events"] / repeat["seconds"])
        assert repeat["others"] is None or 0 <= repeat["others"] <= 1
        assert repeat["events"] >= repeat["steps"] >= 1
        assert repeat["peak_bytes"] >= repeat["peak_bytes_after_warm_up"] > 50e6
    capsys.readouterr()
    assert main(["--compare", str(path), str(path)]) == 0
    assert capsys.readouterr().out.count(" | 1.00 | ") == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
@pytest.mark.skipif(working_tree()[0] is None, reason="not a git repository")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_leaves_no_worktree_and_no_child(stop):
    before = worktrees()
    command = [sys.executable, str(TRAIN), *TINY, "--seconds", "600", "--against", "HEAD"]
    # A shell's background jobs, and so the tests where they run in one, are started deaf to SIGINT.
    hearing = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hearing
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.read(4) == b"1/2 "
            assert len(worktrees()) > len(before)
            child = measuring(process.pid)
            process.send_signal(stop)
            assert process.wait(120) == 130
            assert b"interrupted" in process.stderr.read()
        finally:
            process.kill()
    assert worktrees() == before
    assert gone(child)


def measuring(pid: int) -> int:
    """The process that `pid` has started to measure a case, once it runs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"measure.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                time.sleep(0.2)
                return int(child)
        time.sleep(0.02)
    pytest.fail("no process measures")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "no-such-commit"], "cannot measure against 'no-such-commit'"),
        (["--json", "no/such/folder/run.json"], "cannot write no/such/folder/run.json"),
        (["--compare", "missing.json", "missing.json"], "missing.json"),
    ],
)
def test_what_cannot_be_done_ends_with_a_message(capsys, arguments, message):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "[]", '{"benchmark": "prepare"}', '{"benchmark": "train", "format": 0}']
)
def test_a_file_of_something_else_is_not_compared(tmp_path, capsys, content):
    ours, other = tmp_path / "ours.json", tmp_path / "other.json"
    ours.write_text(json.dumps(saved_run({BASE: [1.0]})))
    other.write_text(content)
    assert main(["--compare", str(ours), str(other)]) == 1
    assert "give a file that --json wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--repeats", "0"], ["--seconds", "nan"], ["--window", "x"], ["--form", "dot"]]
)
def test_bad_arguments_are_a_matter_of_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err
