"""Stopped anywhere, by an error or by kill -9, a training ends with the bits of one never stopped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from training_cases import ALL_PARTS, PAPER, Ear, assert_same_weights, make_training

from grela.errors import CheckpointError
from grela.training.checkpoint import CURRENT

HERE = Path(__file__).parent


class Break(Exception):
    """Stands for anything that ends a process."""


def broken_after(step: int) -> Ear:
    def stop(report) -> None:
        if len(ear.steps) == step:
            raise Break

    ear = Ear(stop)
    return ear


@pytest.mark.parametrize(
    ("form", "precision", "positions", "histories"),
    [
        ("causal", "fp32", 64, "windows"),
        ("causal", "bf16", 64, "windows"),
        ("causal", "bf16", 64, "carried"),
        ("bidirectional", "bf16", 400, "windows"),
    ],
)
def test_broken_after_any_step_it_ends_with_the_same_bits(tmp_path, form, precision, positions, histories):
    settings = {"form": form, "precision": precision, "batch_positions": positions, "epochs": 2}
    settings["histories"] = histories
    unbroken = make_training(None, **settings)
    expected = unbroken.run()
    total = unbroken.total_steps
    for step in (1, total // 2, total // 2 + 2, total):
        folder = tmp_path / str(step)
        folder.mkdir()
        with pytest.raises(Break):
            make_training(folder, listener=broken_after(step), **settings).run()
        ear = Ear()
        resumed = make_training(folder, listener=ear, **settings)
        found = resumed.run()
        # The step that broke was done but not saved: it is done again.
        assert len(ear.steps) == total - step + 1
        assert_same_weights(resumed.model.state_dict(), unbroken.model.state_dict())
        assert found.best_epoch == expected.best_epoch
        for epoch, other in zip(found.epochs, expected.epochs, strict=True):
            assert (epoch["loss"], epoch["metrics"]) == (other["loss"], other["metrics"])
        if step > 1:
            assert any("resumed after step" in notice for notice in ear.notices)


@pytest.mark.parametrize("histories", ["windows", "carried"])
def test_broken_on_cuda_it_goes_on(tmp_path, histories):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    with pytest.raises(Break):
        make_training(tmp_path, listener=broken_after(5), device="cuda", histories=histories).run()
    ear = Ear()
    resumed = make_training(tmp_path, listener=ear, device="cuda", histories=histories)
    assert resumed.run().finished
    assert len(ear.steps) == resumed.total_steps - 4


def test_a_finished_training_does_nothing_more(tmp_path):
    first = make_training(tmp_path)
    first.run()
    ear = Ear()
    again = make_training(tmp_path, listener=ear)
    again.run()
    assert ear.steps == []
    assert_same_weights(again.model.state_dict(), first.model.state_dict())


def test_a_damaged_checkpoint_costs_one_interval_and_says_so(tmp_path):
    unbroken = make_training(None)
    unbroken.run()
    with pytest.raises(Break):
        make_training(tmp_path, listener=broken_after(4)).run()
    whole = (tmp_path / CURRENT).read_bytes()
    (tmp_path / CURRENT).write_bytes(whole[: len(whole) // 2])
    ear = Ear()
    resumed = make_training(tmp_path, listener=ear)
    resumed.run()
    assert "is damaged" in ear.notices[0]
    assert len(ear.steps) == unbroken.total_steps - 2
    assert_same_weights(resumed.model.state_dict(), unbroken.model.state_dict())


def test_another_models_checkpoint_is_refused(tmp_path):
    make_training(tmp_path, epochs=1).run()
    with pytest.raises(CheckpointError, match=r"is another model's: after_next.map is \[16, 16\] there"):
        make_training(tmp_path, epochs=1, width=20).run()


@pytest.mark.parametrize("part", [*PAPER])
def test_a_checkpoint_of_a_model_without_one_of_our_parts_is_refused(tmp_path, part):
    make_training(tmp_path, epochs=1, parts=ALL_PARTS | {part: PAPER[part]}).run()
    with pytest.raises(CheckpointError, match=r"is another model's: .* is None there"):
        make_training(tmp_path, epochs=1).run()


def test_a_checkpoint_holds_our_parts_and_their_averages(tmp_path):
    training = make_training(tmp_path, epochs=1)
    training.run()
    parts = {"gaps.weight", "repeats.by_count", "repeats.by_age", "next_gap.maps", "after_next.map"}
    with safe_open(tmp_path / CURRENT, "pt") as file:
        names = set(file.keys())
        assert torch.equal(file.get_tensor("model/next_gap.class_of"), training.model.next_gap.class_of)
    for part in parts:
        assert f"model/{part}" in names
        assert f"best/{part}" in names
        assert any(name.startswith("optimiser/") and part in name for name in names), part


def run_until(folder: Path, line: str | None) -> list[str]:
    """Run the script until it says `line`, then kill -9; to its end without a line. Returns what it said."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "killed_script.py"), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    said = []
    with process.stdout:
        for printed in process.stdout:
            said.append(printed.strip())
            if said[-1] == line:
                process.kill()
                break
    assert process.wait() == (0 if line is None else -9)
    return said


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_killed_at_several_moments_it_ends_with_the_same_bits(tmp_path):
    """The kill comes as soon as the step is told: before its checkpoint, amid it, or after it, as it happens."""
    killed = [run_until(tmp_path, line) for line in ("fp32 1 3", "fp32 3 1", "bf16 2 2")]
    finished = run_until(tmp_path, None)
    assert killed[0][-1] == "fp32 1 3"
    assert any("resumed after step" in line for line in finished)
    for precision in ("fp32", "bf16"):
        unbroken = make_training(None, precision=precision)
        unbroken.run()
        assert_same_weights(
            load_file(tmp_path / precision / "final.safetensors"), unbroken.model.state_dict()
        )
