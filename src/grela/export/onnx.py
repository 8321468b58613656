"""A folder with a model as ONNX graphs and all that their caller has to know. docs/export.md says how to use it.

encoder.onnx      a history, in pieces, to its state (causal) or hidden state (bidirectional)
step.onnx         one event of each of some users to their states; causal models alone
scores.onnx       hidden states, and what was met, to scores of all items
items.json        raw ids; entry j is item j + 1 of the graphs
description.json  the model's settings, the graphs' inputs and outputs, the layout of a state, buckets of gaps
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from grela.errors import ExportError
from grela.export.graphs import Embedded, Encoder, ScoresGraph, ScoresWithMet, StepGraph, WholeEncoder
from grela.models.recgrela import RecGRELA
from grela.ops.gaps import BUCKETS, TIED, UNKNOWN

NEEDED = ("onnx", "onnxscript")
LARGEST_FILE = (
    1 << 30
)  # bytes of weights; beyond, they lie in a file of their own, as the format wants from 2 GiB on

# An input: its name, an example, and the names of its axes that may have any size.
Input = tuple[str, Tensor, dict[int, str]]


def export_onnx(model: RecGRELA, folder: Path, *, items: Sequence[str | int]) -> list[Path]:
    """Write the graphs of a float32 model into a new or empty folder; returns the files.

    items: the raw ids of items 1..N. ExportError where the extra `export` is not installed, or the folder cannot be
    written or holds something.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{' and '.join(missing)} cannot be imported; install them: pip install 'grela[export]'"
        )
    frozen = _frozen(model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if found := sorted(path.name for path in folder.iterdir()):
            raise ExportError(f"{folder} is not empty ({', '.join(found[:3])}); give a new folder as --out")
        graphs = {name: _write(folder / name, *graph) for name, graph in _graphs(frozen).items()}
        _write_json(folder / "items.json", list(items))
        _write_json(folder / "description.json", _description(frozen, graphs))
    except OSError as error:
        raise ExportError(f"cannot write {folder}: {error.strerror or error}; give another --out") from error
    return sorted(folder.iterdir())


def _frozen(model: RecGRELA) -> RecGRELA:
    """A copy on the CPU whose weights learn nothing."""
    copy = RecGRELA(
        model.config, rng=torch.Generator().manual_seed(0), eps=model.each_block()[0].attention.eps
    )
    copy.load_state_dict(model.state_dict())
    return copy.float().eval().requires_grad_(False)


def _graphs(model: RecGRELA) -> dict[str, tuple[nn.Module, list[Input], str]]:
    """The graphs, with examples of their inputs and the names of their outputs. An example's axes are not of size 1."""
    config, many = model.config, torch.arange(2, 5)
    gaps = torch.full_like(many, UNKNOWN)
    events = ("items", many.clamp(max=config.num_items), {0: "events"}), ("gaps", gaps, {0: "events"})
    found: dict[str, tuple[nn.Module, list[Input], str]] = {}
    if config.form == "causal":
        encoder, step = Encoder(model), StepGraph(model)
        one = torch.zeros(encoder.size)
        found["encoder.onnx"] = (
            encoder,
            [*events, ("state", one, {}), ("events", torch.zeros(1, dtype=torch.int64), {})],
            "after",
        )
        users = [(name, example, {0: "users"}) for name, example, _ in events]
        states: list[Input] = [
            ("state", one.expand(3, -1).clone(), {0: "users"}),
            ("events", torch.zeros(3, dtype=torch.int64), {0: "users"}),
        ]
        found["step.onnx"] = (step, [*users, *states], "after")
    else:
        found["encoder.onnx"] = (WholeEncoder(model), list(events), "hidden")
    hidden: Input = ("hidden", torch.zeros(3, config.width), {0: "histories"})
    if model.repeats is None:
        found["scores.onnx"] = (ScoresGraph(model), [hidden], "scores")
    else:
        pairs = [
            ("history", many - 2),
            ("item", many.clamp(max=config.num_items)),
            ("count", many),
            ("age", many),
        ]
        met: list[Input] = [(name, example.clone(), {0: "met"}) for name, example in pairs]
        found["scores.onnx"] = (ScoresWithMet(model), [hidden, *met], "scores")
    return found


def _write(path: Path, graph: nn.Module, inputs: list[Input], output: str) -> dict[str, Any]:
    """Export one graph; returns what the description says of it."""
    weights = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values())
    names, dynamic = [name for name, _, _ in inputs], []
    seen: set[str] = set()
    for _, _, axes in inputs:
        # The exporter wants a name once, and finds by itself which axes are alike.
        dynamic.append({axis: Dim.DYNAMIC if name in seen else Dim(name) for axis, name in axes.items()})
        seen.update(axes.values())
    with _quiet():
        torch.onnx.export(
            graph.eval(),
            tuple(example for _, example, _ in inputs),
            os.fspath(path),
            dynamo=True,
            input_names=names,
            output_names=[output],
            dynamic_shapes=tuple(dynamic),
            external_data=weights > LARGEST_FILE,
            verbose=False,
        )
    shown = {
        name: {"type": str(example.dtype).removeprefix("torch."), "shape": _shape(example, axes)}
        for name, example, axes in inputs
    }
    return {"inputs": shown, "output": output}


def _shape(example: Tensor, axes: dict[int, str]) -> list[int | str]:
    return [axes.get(axis, size) for axis, size in enumerate(example.shape)]


def _description(model: RecGRELA, graphs: dict[str, Any]) -> dict[str, Any]:
    state = None
    if model.config.form == "causal":
        sizes = dict(zip(("S", "z", "tail"), Embedded(model).parts, strict=True))
        state = {"size": Embedded(model).size, "of_each_layer": sizes, "then_hidden": model.config.width}
    return {
        "format": 1,
        "config": asdict(model.config),
        "graphs": graphs,
        "state": state,
        "gaps": {"unknown": UNKNOWN, "tied": TIED, "buckets": BUCKETS},
    }


def _write_json(path: Path, values: Any) -> None:
    path.write_text(
        json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of itself: of a package that is not needed, and of its own names."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
