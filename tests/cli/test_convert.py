"""`grela convert`: a reference checkpoint becomes a model that computes the same."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from grela.models.io import load_model

RECORDED = Path(__file__).parents[1] / "models" / "reference_outputs" / "padded_4_layers.npz"


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(RECORDED, allow_pickle=False))


@pytest.fixture
def checkpoint(recorded, tmp_path) -> Path:
    """A `.pth` as the reference's framework leaves it."""
    prefix = "param."
    weights = {
        n.removeprefix(prefix): torch.from_numpy(v) for n, v in recorded.items() if n.startswith(prefix)
    }
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "RecGRELA.pth")
    return tmp_path / "RecGRELA.pth"


def shape(recorded) -> list[object]:
    config = json.loads(str(recorded["config"]))
    return ["--heads", config["num_heads"], "--max-length", config["MAX_ITEM_LIST_LENGTH"]]


def test_a_converted_model_reproduces_the_recorded_outputs(grela, recorded, checkpoint, tmp_path):
    done = grela("convert", checkpoint, *shape(recorded), "--out", tmp_path / "models" / "reference")
    assert (done.code, done.err) == (0, "")
    assert "4 layers" in done.out
    model = load_model(tmp_path / "models" / "reference")
    with torch.inference_mode():
        hidden = model.last_hidden(
            torch.from_numpy(recorded["item_seq"]), torch.from_numpy(recorded["item_seq_len"])
        )
        scores = model.scores(hidden).numpy()
    expected = recorded["scores"]
    assert np.abs(scores - expected).max() <= 1e-5 * np.abs(expected).max()
    names = {path.name for path in (tmp_path / "models" / "reference").iterdir()}
    assert names == {"model.safetensors", "model.json"}


def test_a_model_without_a_run_says_that_it_is_none(grela, recorded, checkpoint, tmp_path):
    grela("convert", checkpoint, *shape(recorded), "--out", tmp_path / "model")
    done = grela("recommend", tmp_path / "model", "--history", "1")
    assert done.code == 1
    assert "is not a run folder" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--heads", 3, "--max-length", 50], 1, "heads 3"),
        (["--heads", 0, "--max-length", 50], 1, "heads is 0"),
        (["--heads", 2, "--max-length", 0], 1, "max_length is 0"),
        (["--heads", 2], 2, "--max-length"),
        (["--max-length", 50], 2, "--heads"),
    ],
)
def test_bad_shapes_are_named(grela, checkpoint, tmp_path, arguments, code, message):
    done = grela("convert", checkpoint, *arguments, "--out", tmp_path / "out")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_checkpoints_are_named(grela, tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("text.pth", "other.pth", "list.pth", "missing.pth"):
        arguments = ["--heads", 2, "--max-length", 50, "--out", tmp_path / "out"]
        done = grela("convert", tmp_path / name, *arguments)
        assert (done.code, done.out) == (1, ""), name
        assert name in done.err or "state dict" in done.err, name
        assert not (tmp_path / "out").exists()


def test_an_out_that_cannot_be_written_is_named(grela, recorded, checkpoint):
    done = grela("convert", checkpoint, *shape(recorded), "--out", checkpoint / "out")
    assert done.code == 1
    assert "cannot write" in done.err
