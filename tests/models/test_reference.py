"""Parity with the reference implementation, on outputs recorded from it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from grela.errors import ModelError
from grela.models.io import from_reference, load_model, read_reference, save_model
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.models.reference import ReferenceRecGRELA

FOLDER = Path(__file__).parent / "reference_outputs"
CASES = sorted(FOLDER.glob("*.npz"))
RELATIVE = 1e-5  # of the array's largest value: float32 sums in another order


def recorded(path: Path) -> tuple[ReferenceRecGRELA, dict[str, np.ndarray]]:
    arrays = dict(np.load(path, allow_pickle=False))
    config = json.loads(str(arrays["config"]))
    weights = {
        name.removeprefix("param."): value for name, value in arrays.items() if name.startswith("param.")
    }
    model = from_reference(weights, num_heads=config["num_heads"], max_length=config["MAX_ITEM_LIST_LENGTH"])
    return model, arrays


def close(got: torch.Tensor, expected: np.ndarray) -> bool:
    return bool(np.abs(got.detach().numpy() - expected).max() <= RELATIVE * np.abs(expected).max())


def test_three_cases_are_recorded() -> None:
    assert [path.stem for path in CASES] == ["full_length_2_layers", "padded_4_layers", "single_layer"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_recorded_array_is_reproduced(path: Path) -> None:
    model, arrays = recorded(path)
    items, lengths = torch.from_numpy(arrays["item_seq"]), torch.from_numpy(arrays["item_seq_len"])
    stages = model.stages(items)
    hidden = model.last_hidden(items, lengths)
    scores = model.scores(hidden)
    loss = cross_entropy(scores, torch.from_numpy(arrays["target"]))

    assert close(stages.embedded, arrays["embedded"])
    assert close(stages.attention[0], arrays["block0_attention"])
    assert close(stages.outputs[0], arrays["block0_output"])
    assert close(hidden, arrays["seq_output"])
    assert close(scores, arrays["scores"])
    assert close(loss, arrays["loss"])


def test_histories_are_padded_to_the_length_of_training() -> None:
    model, arrays = recorded(FOLDER / "padded_4_layers.npz")
    lengths = torch.from_numpy(arrays["item_seq_len"])[:2]
    short = torch.from_numpy(arrays["item_seq"])[:2, : int(lengths.max())]
    assert close(model.last_hidden(short, lengths), arrays["seq_output"][:2])


def test_longer_histories_than_trained_are_refused() -> None:
    model, _ = recorded(FOLDER / "single_layer.npz")
    with pytest.raises(ModelError, match="at most 20"):
        model.last_hidden(torch.ones(1, 21, dtype=torch.int64), torch.tensor([21]))


def test_without_padding_the_mode_agrees_with_the_bidirectional_form() -> None:
    model, arrays = recorded(FOLDER / "full_length_2_layers.npz")
    c = model.config
    config = RecGRELAConfig(
        num_items=c.num_items,
        form="bidirectional",
        width=c.width,
        heads=c.heads,
        layers=c.layers,
        gaps=False,
        repeats=False,
        item_bias=False,
        next_gaps=0,
        after_next=0.0,
    )
    ours = RecGRELA(config, rng=torch.Generator().manual_seed(0))
    ours.load_state_dict(model.model.state_dict())
    items, lengths = torch.from_numpy(arrays["item_seq"]), torch.from_numpy(arrays["item_seq_len"])
    # The one difference left is 1e-6 * T in the denominator.
    assert np.abs(ours.last_hidden(items, lengths).detach().numpy() - arrays["seq_output"]).max() < 1e-4


def test_stored_rotation_tables_are_ignored_and_other_entries_are_not() -> None:
    model, arrays = recorded(FOLDER / "single_layer.npz")
    weights = {
        name.removeprefix("param."): value for name, value in arrays.items() if name.startswith("param.")
    }
    with_table = weights | {"GRELA_block.0.attn.rope.rotations": np.zeros((20, 8, 2), np.float32)}
    from_reference(with_table, num_heads=2, max_length=20)
    with pytest.raises(ModelError, match="extra"):
        from_reference(weights | {"extra.weight": np.zeros(3)}, num_heads=2, max_length=20)
    del weights["GRELA_block.0.mlp.fc1.bias"]
    with pytest.raises(ModelError, match=r"missing.*fc1\.bias"):
        from_reference(weights, num_heads=2, max_length=20)
    assert model.config.layers == 1


def test_a_checkpoint_file_is_read_without_running_code(tmp_path: Path) -> None:
    _, arrays = recorded(FOLDER / "single_layer.npz")
    weights = {
        n.removeprefix("param."): torch.from_numpy(v) for n, v in arrays.items() if n.startswith("param.")
    }
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "a.pth")
    assert read_reference(tmp_path / "a.pth").keys() == weights.keys()

    torch.save({"state_dict": weights, "config": Path("/an/object")}, tmp_path / "b.pth")
    with pytest.raises(ModelError, match="save the weights by themselves"):
        read_reference(tmp_path / "b.pth")
    (tmp_path / "c.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"c\.pth"):
        read_reference(tmp_path / "c.pth")
    with pytest.raises(ModelError, match="no file"):
        read_reference(tmp_path / "d.pth")


def test_a_converted_model_is_saved_and_loaded_unchanged(tmp_path: Path) -> None:
    model, arrays = recorded(FOLDER / "padded_4_layers.npz")
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    items, lengths = torch.from_numpy(arrays["item_seq"]), torch.from_numpy(arrays["item_seq_len"])
    assert torch.equal(loaded.last_hidden(items, lengths), model.last_hidden(items, lengths))


def test_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    model, _ = recorded(FOLDER / "single_layer.npz")
    save_model(model, tmp_path)
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file"):
        load_model(tmp_path)
