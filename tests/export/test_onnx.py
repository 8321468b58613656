"""The exported graphs, run by onnxruntime, against the model: any length, any batch, states in and out, every part."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch

from grela.errors import ExportError
from grela.export import onnx as exporting
from grela.export.graphs import least_of_buckets
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS
from grela.ops.losses.targets import SeenItems
from grela.ops.repeats import AGES, COUNTS, half_octave

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
ort = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

ITEMS, WIDTH, HEADS, LAYERS = 50, 12, 3, 2

MODELS = {
    "default": {},
    "other": {
        "decay": True,
        "learned_positions": 5,
        "rotation_per_head": True,
        "gate": False,
        "gaps": False,
        "repeats": False,
        "item_bias": False,
        "next_gaps": 0,
    },
    "bare": {"rotation": False, "local_branch": False, "next_gaps": 2},
    "bidirectional": {"form": "bidirectional"},
}
# An export takes some ten seconds.
CAUSAL = ["default", *(pytest.param(name, marks=pytest.mark.slow) for name in ("other", "bare"))]
EVERY = [*CAUSAL, pytest.param("bidirectional", marks=pytest.mark.slow)]


def must_be_close(found, expected) -> None:
    """Float32 by other sums: to 2e-5 of the largest number."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()


@cache
def model(name: str) -> RecGRELA:
    """Parameters the size of trained ones."""
    shape = {"num_items": ITEMS, "width": WIDTH, "heads": HEADS, "layers": LAYERS}
    rng = torch.Generator().manual_seed(0)
    made = RecGRELA(RecGRELAConfig(**shape | MODELS[name]), rng=rng).requires_grad_(False)
    for parameter_name, parameter in made.named_parameters():
        drawn = torch.randn(parameter.shape, generator=rng)
        if "norm.weight" in parameter_name:
            drawn = 1 + 0.3 * drawn
        elif "log_time" in parameter_name:
            drawn = 2 + drawn
        elif parameter.dim() > 1 and not any(t in parameter_name for t in ("embedding", "positions", "gaps")):
            drawn = drawn / parameter[0].numel() ** 0.5
        parameter.copy_(drawn)
    if made.next_gap is not None:
        made.next_gap.divide(np.ones(BUCKETS, np.int64))
    return made


@cache
def folder(name: str) -> Path:
    """One export for all tests of a model."""
    out = Path(mkdtemp(prefix="grela-export-")) / name
    exporting.export_onnx(model(name), out, items=[f"i{j}" for j in range(1, ITEMS + 1)])
    return out


@cache
def session(name: str, graph: str):
    return ort.InferenceSession(folder(name) / graph, providers=["CPUExecutionProvider"])


def run(name: str, graph: str, **inputs) -> np.ndarray:
    given = {key: np.asarray(value) for key, value in inputs.items()}
    (out,) = session(name, graph).run(None, given)
    return out


def history(length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Items and buckets of gaps, int64 [T]."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(1, ITEMS + 1, (length,), generator=rng), torch.randint(
        BUCKETS, (length,), generator=rng
    )


def size(name: str) -> int:
    return json.loads((folder(name) / "description.json").read_text())["state"]["size"]


def encoded(name: str, items: torch.Tensor, gaps: torch.Tensor, pieces: list[int]) -> np.ndarray:
    """The state after a history that goes through in pieces of these lengths."""
    state, low = np.zeros(size(name), np.float32), 0
    for length in pieces:
        part = slice(low, low + length)
        state = run(name, "encoder.onnx", items=items[part], gaps=gaps[part], state=state, events=[low])
        low += length
    return state


def flat(state, hidden: torch.Tensor) -> np.ndarray:
    """The model's own state as the graphs lay it out."""
    parts = [part.flatten(1) for layer in state.layers for part in (*layer.attention, layer.tail)]
    return torch.cat([*parts, hidden], 1).numpy()


def by_model(name: str, items: torch.Tensor, gaps: torch.Tensor) -> np.ndarray:
    row, positions = items.unsqueeze(0), torch.arange(len(items)).unsqueeze(0)
    hidden, state = model(name)(row, torch.zeros_like(row), positions, gaps=gaps.unsqueeze(0))
    return flat(state, hidden[:, -1])[0]


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("length", [1, 2, 37, 130])
def test_the_encoder_is_the_model_at_any_length(name, length):
    items, gaps = history(length)
    must_be_close(encoded(name, items, gaps, [length]), by_model(name, items, gaps))


@pytest.mark.parametrize("name", CAUSAL)
def test_a_history_in_pieces_is_the_history(name):
    items, gaps = history(40)
    whole = by_model(name, items, gaps)
    for pieces in ([40], [1, 39], [13, 14, 13], [39, 1]):
        must_be_close(encoded(name, items, gaps, pieces), whole)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("users", [1, 4])
def test_the_step_is_the_models_step(name, users):
    """Users at different places of their histories; the state goes in and comes out as the encoder's does."""
    states, events, expected = [], [], []
    for user in range(users):
        items, gaps = history(5 + 3 * user, seed=user)
        states.append(encoded(name, items[:-1], gaps[:-1], [len(items) - 1]))
        events.append(len(items) - 1)
        expected.append(by_model(name, items, gaps))
    last = [history(5 + 3 * user, seed=user) for user in range(users)]
    found = run(
        name,
        "step.onnx",
        items=[int(items[-1]) for items, _ in last],
        gaps=[int(gaps[-1]) for _, gaps in last],
        state=np.stack(states),
        events=events,
    )
    must_be_close(found, expected)


def test_angles_are_exact_far_along_a_history():
    """At the millionth event a float32 angle would be wrong by 0.06."""
    items, gaps = history(1)
    state = encoded("default", *history(20, seed=3), [20])
    far = {"items": items, "gaps": gaps, "events": [1_000_000]}
    found = run("default", "step.onnx", **far, state=state[None])[0]
    must_be_close(run("default", "encoder.onnx", **far, state=state), found)
    hidden, after = model("default").step(items, _unpacked(state, 1_000_000), gaps)
    must_be_close(found, flat(after, hidden)[0])


def _unpacked(state: np.ndarray, events: int):
    """The vector as the model takes it."""
    before = model("default").empty_state(1)
    rest = torch.from_numpy(state).unsqueeze(0)
    layers = []
    for layer in before.layers:
        parts = []
        for like in (*layer.attention, layer.tail):
            parts.append(rest[:, : like.numel()].view_as(like))
            rest = rest[:, like.numel() :]
        layers.append(type(layer)(type(layer.attention)(*parts[:2]), parts[2]))
    return type(before)(tuple(layers), torch.tensor([events]))


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 2, 37])
def test_the_bidirectional_encoder_gives_the_hidden_state(length):
    items, gaps = history(length)
    found = run("bidirectional", "encoder.onnx", items=items, gaps=gaps)
    lengths = torch.tensor([length])
    expected = model("bidirectional").last_hidden(items[None], lengths, gaps=gaps[None])
    must_be_close(found, expected[0])
    assert not (folder("bidirectional") / "step.onnx").exists()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("lengths", [[5], [0, 40, 1], [0]])
def test_scores_are_the_models_with_what_was_met(name, lengths):
    """Repeats, and items seen long ago; a history that has met nothing; nothing met by anybody."""
    histories = [history(length, seed=j)[0] % 9 + 1 for j, length in enumerate(lengths)]
    end = torch.tensor(lengths).cumsum(0)
    seen = SeenItems(torch.cat(histories), end - torch.tensor(lengths), end)
    hidden = torch.randn(len(lengths), WIDTH, generator=torch.Generator().manual_seed(1))
    met = {}
    if model(name).repeats is not None:
        pairs = [
            (b, item, int((h == item).sum()), len(h) - int((h == item).nonzero().max()))
            for b, h in enumerate(histories)
            for item in sorted(set(h.tolist()))
        ]
        columns = np.array(pairs, np.int64).reshape(-1, 4).T
        met = dict(zip(("history", "item", "count", "age"), columns, strict=True))
    found = run(name, "scores.onnx", hidden=hidden, **met)
    must_be_close(found, model(name).scores(hidden, seen))


def test_buckets_are_told_by_their_least_numbers():
    numbers = torch.cat((torch.arange(1, 5000), 2 ** torch.arange(12, 30), 2 ** torch.arange(12, 30) - 1))
    for buckets in (COUNTS, AGES):
        found = (numbers.unsqueeze(1) >= least_of_buckets(buckets)).sum(1)
        assert torch.equal(found, half_octave(numbers, buckets))


def test_the_folder_says_what_its_caller_must_know():
    said = json.loads((folder("default") / "description.json").read_text())
    assert json.loads((folder("default") / "items.json").read_text()) == [
        f"i{j}" for j in range(1, ITEMS + 1)
    ]
    for name, graph in said["graphs"].items():
        inputs = {one.name: one.shape for one in session("default", name).get_inputs()}
        assert [*inputs] == [*graph["inputs"]]
        for key, shape in inputs.items():
            fixed = [size if isinstance(size, int) else None for size in shape]
            told = [size if isinstance(size, int) else None for size in graph["inputs"][key]["shape"]]
            assert fixed == told
        assert [one.name for one in session("default", name).get_outputs()] == [graph["output"]]
    assert said["state"]["size"] == LAYERS * sum(said["state"]["of_each_layer"].values()) + WIDTH
    assert said["config"]["width"] == WIDTH


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(ExportError, match=r"is not empty \(x\); give a new folder"):
        exporting.export_onnx(model("default"), tmp_path / "full", items=[])
    with pytest.raises(ExportError, match="cannot write"):
        exporting.export_onnx(model("default"), tmp_path / "full" / "x", items=[])
    monkeypatch.setattr(exporting, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(ExportError, match=r"no_such_package cannot be imported; install .*grela\[export\]"):
        exporting.export_onnx(model("default"), tmp_path / "new", items=[])
