"""The number of ranks changes no bit: one, two and three gloo ranks, and one process without torchrun."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from ranks_script import SETTINGS, trained
from safetensors.torch import load_file
from training_cases import assert_same_weights, rows_of_any_size

from grela.errors import RanksError
from grela.training.ranks import ALONE, checksum
from grela.training.torchrun import LAUNCHED, command_of, ranks_of_torchrun
from ranks_cases import torchrun

# By PyTorch's operators one process computes all windows of a step as one row, and draws other places to drop.
JOINED = ("torch",)
HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=[1, 2, 3])
def left(request, tmp_path_factory) -> Path:
    """What so many ranks have left."""
    folder = tmp_path_factory.mktemp(f"{request.param}-ranks")
    done = subprocess.run(
        torchrun(request.param, HERE / "ranks_script.py", folder), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture
def small_rows(monkeypatch):
    rows_of_any_size(monkeypatch.setattr)


@pytest.fixture(scope="module")
def by_one_rank() -> dict[str, dict[str, torch.Tensor]]:
    """Weights by name; the first number of ranks leaves them for the others."""
    return {}


@pytest.mark.parametrize("name", [*SETTINGS])
def test_ranks_end_with_the_bits_of_one_process(left, name, small_rows, by_one_rank):
    found = load_file(left / f"{name}.safetensors")
    assert_same_weights(found, by_one_rank.setdefault(name, found))
    if name in JOINED:
        return
    training, ear = trained(name, None)
    assert len(next(training.plan.epoch(0)).rows) == 4
    assert_same_weights(found, training.model.state_dict())
    record = [[epoch.loss, dict(epoch.metrics), epoch.best_epoch] for epoch in ear.epochs]
    assert json.loads((left / f"{name}.json").read_text()) == record


def test_without_dropout_one_row_is_as_good_as_four(left, small_rows):
    """So that by PyTorch's operators ranks differ from one process in draws and in rounding alone."""
    losses = [epoch[0] for epoch in json.loads((left / "torch.json").read_text())]
    _, ear = trained("torch", None)
    assert losses == pytest.approx([epoch.loss for epoch in ear.epochs], rel=0.05)


def environ(**changes: str) -> dict[str, str]:
    here = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    return {LAUNCHED: "a run", **here} | changes


def test_a_process_that_torchrun_did_not_start_is_alone():
    with ranks_of_torchrun("cpu", {"RANK": "1", "WORLD_SIZE": "2"}) as ranks:
        assert ranks is ALONE
    assert ALONE.mine("abc") == [(0, "a"), (1, "b"), (2, "c")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": "2"}, r"rank 2 of 2 .* cannot be: start by torchrun"),
        ({"LOCAL_WORLD_SIZE": "3"}, r"\(0 of 3 on this machine\) cannot be"),
        ({"RANK": "one"}, "not all are numbers"),
    ],
)
def test_places_that_cannot_be_are_refused(changes, words):
    with pytest.raises(RanksError, match=words), ranks_of_torchrun("cpu", environ(**changes)):
        pass


def test_more_ranks_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with (
        pytest.raises(RanksError, match=r"2 ranks on this machine, but 0 GPUs .* or grela --device cpu"),
        ranks_of_torchrun("cuda", environ()),
    ):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(RanksError, match="but 1 GPUs"),
        ranks_of_torchrun("auto", environ()),
    ):
        pass


def test_a_backend_that_torch_lacks_is_named(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_gloo_available", lambda: False)
    with (
        pytest.raises(RanksError, match="this build of torch has no gloo, by which ranks on cpu talk"),
        ranks_of_torchrun("cpu", environ()),
    ):
        pass


def test_a_rank_that_nobody_meets_says_so():
    nowhere = environ(MASTER_ADDR="localhost")
    with (
        pytest.raises(
            RanksError, match=r"rank 0 cannot meet the others at localhost: .* Start it by torchrun"
        ),
        ranks_of_torchrun("cpu", nowhere),
    ):
        pass


def test_checksums_tell_a_bit():
    weights = {"a": torch.arange(3.0), "b": torch.tensor([True, False])}
    assert checksum(weights) == checksum({name: x.clone() for name, x in weights.items()})
    assert checksum(weights) != checksum(weights | {"a": torch.tensor([0, 1, 2 + 2**-22])})


def test_the_command_is_told_as_it_was_typed():
    assert command_of(["grela", "fit", "a b"], {}) == "grela fit 'a b'"
    assert command_of(["grela", "fit"], environ()) == "torchrun --nproc-per-node 2 -m -- grela fit"
    several = environ(WORLD_SIZE="4")
    assert command_of(["grela"], several) == "torchrun --nnodes 2 --nproc-per-node 2 -m -- grela"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no two CUDA devices here")
def test_two_gpus_train_by_nccl_as_one_does(tmp_path):
    found = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        done = subprocess.run(
            torchrun(ranks, HERE / "cuda_ranks_script.py", folder),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        found.append(load_file(folder / "weights.safetensors"))
    for name, weights in found[0].items():
        torch.testing.assert_close(found[1][name], weights, rtol=1e-3, atol=1e-4)
