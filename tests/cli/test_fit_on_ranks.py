"""`torchrun -m -- grela fit`: what it leaves is what one process leaves, also after a rank was killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from cli_cases import SETTINGS, environment

from fit_cases import saved_weights
from grela import Recommender
from grela.cli.main import run
from grela.run_folder import read_facts, read_metrics
from ranks_cases import torchrun

# Four epochs of steps with two rows; kernels compute heads of 16 channels. A checkpoint after every step.
MORE = {
    "width = 8": "width = 32",
    "epochs = 2": "epochs = 4\ncheckpoint_seconds = 1e-9",
    "batch_positions = 128": "batch_positions = 1024",
}


@pytest.fixture(scope="module")
def arguments(inputs, tmp_path_factory) -> list[object]:
    """Everything but --out."""
    settings = SETTINGS
    for old, new in MORE.items():
        settings = settings.replace(old, new)
    path = tmp_path_factory.mktemp("ranks") / "settings.toml"
    path.write_text(settings)
    # Rows of 512 positions: the log has 300 training events, so a longer one is made of it ten times over.
    lines = (inputs / "log.csv").read_text().splitlines()
    users = [line.split(",", 1) for line in lines[1:]]
    longer = [f"{int(user) + 1000 * copy},{rest}" for copy in range(10) for user, rest in users]
    log = path.with_name("longer.csv")
    log.write_text("\n".join([lines[0], *longer]))
    return ["fit", log, "--config", path]


@pytest.fixture(scope="module")
def by_one_process(arguments, tmp_path_factory) -> Path:
    """The run of one process without torchrun."""
    out = tmp_path_factory.mktemp("one") / "run"
    assert run([str(argument) for argument in (*arguments, "--out", out)]) == 0
    return out


def on_ranks(ranks: int, *arguments: object, restarts: int = 0) -> subprocess.Popen:
    return subprocess.Popen(
        torchrun(ranks, "-m", "--", "grela", *arguments, restarts=restarts),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def assert_same_runs(found: Path, expected: Path) -> None:
    """The same weights bit for bit, the same losses and metrics of every epoch, the same evaluation."""
    weights = saved_weights(expected)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in saved_weights(found).items())
    losses = [
        [(epoch["loss"], epoch["metrics"], epoch["best_epoch"]) for epoch in read_metrics(path)]
        for path in (found, expected)
    ]
    assert losses[0] == losses[1]
    assert (found / "evaluation.json").read_text() == (expected / "evaluation.json").read_text()
    assert sorted(p.name for p in found.iterdir()) == sorted(p.name for p in expected.iterdir())


def test_two_ranks_leave_the_run_of_one_process_and_tell_it_once(arguments, by_one_process, tmp_path):
    process = on_ranks(2, *arguments, "--out", tmp_path / "run", "--log", "json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert_same_runs(tmp_path / "run", by_one_process)
    told = [json.loads(line)["event"] for line in out.splitlines()]
    assert (told.count("epoch"), told.count("result")) == (4, 1)
    assert read_facts(tmp_path / "run").command.startswith("torchrun --nproc-per-node 2 -m -- grela fit ")


@pytest.mark.skipif(sys.platform != "linux", reason="a rank's process is found under /proc, which is Linux's")
def test_a_killed_rank_changes_nothing_where_torchrun_starts_anew(arguments, by_one_process, tmp_path):
    process = on_ranks(2, *arguments, "--out", tmp_path / "run", "--log", "json", restarts=1)
    assert process.stdout is not None
    steps = 0
    while steps < 5:
        steps += json.loads(process.stdout.readline())["event"] == "step"
    os.kill(rank_process(process.pid, 1), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "resumed after step" in out
    assert_same_runs(tmp_path / "run", by_one_process)


def accepts(port: int) -> bool:
    """Whether a process of this machine listens there."""
    with socket.socket() as asking:
        return asking.connect_ex(("localhost", port)) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a rank's process is found under /proc, which is Linux's")
def test_a_machine_that_dies_leaves_the_other_to_finish_alone(arguments, by_one_process, tmp_path):
    """Two launchers stand for two machines; one is killed with its rank, and --nnodes 1:2 lets the other go on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    options = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "two"]
    quickly = "last_call_timeout=15,keep_alive_interval=1,keep_alive_max_attempt=3"
    options += ["--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-conf", quickly]
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "--", "grela"]
    command += [*map(str, arguments), "--out", str(tmp_path / "run"), "--log", "json"]
    told = [tmp_path / "first.txt", tmp_path / "second.txt"]
    machines = []
    for path in told:
        with path.open("w") as out:
            machines.append(subprocess.Popen(command, stdout=out, stderr=out, env=environment()))
        # The first one holds the rendezvous, which must not die with the second.
        while not accepts(port):
            assert machines[0].poll() is None, told[0].read_text()
            time.sleep(0.1)
    while sum(path.read_text().count('"step"') for path in told) < 4:
        assert machines[0].poll() is None, told[0].read_text()
        time.sleep(0.2)
    rank = Path(f"/proc/{machines[1].pid}/task/{machines[1].pid}/children").read_text().split()
    for process in (machines[1].pid, *map(int, rank)):
        os.kill(process, signal.SIGKILL)
    machines[1].wait()
    assert machines[0].wait(timeout=180) == 0, told[0].read_text()
    assert "resumed after step" in told[0].read_text()
    assert_same_runs(tmp_path / "run", by_one_process)


def test_a_checkpoint_of_two_ranks_goes_on_with_one_process_and_the_reverse(
    arguments, by_one_process, tmp_path
):
    for first, then in ((2, 0), (0, 2)):
        out = tmp_path / str(first)
        command = [*arguments, "--out", out, "--log", "json"]
        interrupted = starting(first, command)
        assert interrupted.stdout is not None
        steps = 0
        while steps < 4:
            steps += json.loads(interrupted.stdout.readline())["event"] == "step"
        interrupted.send_signal(signal.SIGTERM)
        interrupted.communicate(timeout=120)
        assert interrupted.returncode != 0
        assert (out / "checkpoint.safetensors").exists()
        resumed = starting(then, command)
        told, err = resumed.communicate(timeout=120)
        assert resumed.returncode == 0, err
        assert "resumed after step" in told
        assert_same_runs(out, by_one_process)


def test_ranks_with_other_settings_are_told_apart(arguments, tmp_path):
    """Rank 1 reads settings of its own, by a configuration that its environment names."""
    other = tmp_path / "other.toml"
    other.write_text(Path(arguments[-1]).read_text().replace("epochs = 4", "epochs = 5"))
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nfrom grela.cli.main import run\n"
        f"config = {str(other)!r} if os.environ['RANK'] == '1' else {str(arguments[-1])!r}\n"
        f"sys.exit(run(['fit', {str(arguments[1])!r}, '--config', config, '--out', {str(tmp_path / 'run')!r}]))\n"
    )
    done = subprocess.run(torchrun(2, script), capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 1
    words = "training.epochs is 5 on rank 1, but 4 on rank 0: start all ranks with the same command"
    assert f"grela: {words}" in done.stderr
    assert f"grela (rank 1): {words}" in done.stderr
    assert not (tmp_path / "run").exists()


def starting(ranks: int, arguments: list[object]) -> subprocess.Popen:
    """On so many ranks, or in one process without torchrun where there are none."""
    if ranks:
        return on_ranks(ranks, *arguments)
    command = [sys.executable, "-m", "grela", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def rank_process(launcher: int, rank: int) -> int:
    """The process of a rank among those that torchrun has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in variables:
            return int(child)
    raise AssertionError(f"no rank {rank} among the processes {children} of {launcher}")


@pytest.mark.skipif(find_spec("torchrec") is None, reason="TorchRec is not installed here")
def test_a_sharded_table_is_fitted_and_read_back_as_any_other(arguments, tmp_path):
    """Two ranks and one differ by rounding alone."""
    settings = tmp_path / "settings.toml"
    sharded = '[training]\nitem_table = "sharded"\nloss = "sampled_softmax"\nnegatives = 8'
    settings.write_text(Path(arguments[-1]).read_text().replace("[training]", sharded))
    for ranks in (1, 2):
        process = on_ranks(ranks, *arguments[:-1], settings, "--out", tmp_path / str(ranks))
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
    weights = saved_weights(tmp_path / "2")
    for name, tensor in saved_weights(tmp_path / "1").items():
        torch.testing.assert_close(weights[name], tensor, rtol=2e-4, atol=2e-5)
    assert len(Recommender.load(tmp_path / "2").recommend([100])[0].items) == 10


def test_a_sharded_table_without_torchrun_is_refused_before_anything_is_written(grela, inputs, tmp_path):
    settings = tmp_path / "settings.toml"
    sharded = '[training]\nitem_table = "sharded"\nloss = "sampled_softmax"'
    settings.write_text(SETTINGS.replace("[training]", sharded))
    done = grela("fit", inputs / "log.csv", "--config", settings, "--out", tmp_path / "run")
    assert (done.code, done.out) == (1, "")
    assert "was not started by torchrun: start it so, one rank will do" in done.err
    assert not (tmp_path / "run").exists()
