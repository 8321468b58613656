"""Models on disk: `model.safetensors` beside `model.json`. Nothing is pickled, and nothing unpickled."""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import get_type_hints

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from grela.errors import ConfigError, ModelError
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.models.reference import ReferenceConfig, ReferenceRecGRELA, reference_model
from grela.models.tensors import write_tensors

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"

Model = RecGRELA | ReferenceRecGRELA
_KINDS: dict[str, type[RecGRELAConfig] | type[ReferenceConfig]] = {
    "RecGRELA": RecGRELAConfig,
    "ReferenceRecGRELA": ReferenceConfig,
}


def from_reference(
    state_dict: Mapping[str, Tensor | np.ndarray], *, num_heads: int, max_length: int
) -> ReferenceRecGRELA:
    """A model that computes what the reference implementation does with these weights, in parity mode.

    state_dict: tensors or numpy arrays under the reference's own names; max_length: the T of its training.
    The model has `last_hidden(items [B, T], lengths [B]) -> [B, D]` and `scores(hidden) -> [B, N]`, N with
    the padding item counted. Raises ModelError if the entries are not a reference RecGRELA's.
    """
    return reference_model(state_dict, num_heads=num_heads, max_length=max_length)


def read_reference(path: Path) -> dict[str, Tensor]:
    """The state dict in a reference checkpoint (`.pth`), bare or under "state_dict"; no code in it is run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"no file {path}; give the reference's .pth file") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{path} is not a file of weights alone ({str(error).splitlines()[0]}). In the environment that wrote "
            "it, save the weights by themselves: torch.save(torch.load(PATH)['state_dict'], NEW_PATH)"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path} holds {type(content).__name__}, expected a state dict of tensors")
    return content


def save_model(model: Model, folder: Path) -> None:
    """Write the model into an existing folder; OSError where it cannot be written."""
    digest = write_tensors(folder / WEIGHTS, model.state_dict(), {})
    description = {"model": type(model).__name__, "config": asdict(model.config), "sha256": digest}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> Model:
    """Read what `save_model` wrote; raises ModelError saying what is missing, damaged or does not fit."""
    config, digest = _description(folder / DESCRIPTION)
    try:
        weights = load_file(folder / WEIGHTS)
        with open(folder / WEIGHTS, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read {folder / WEIGHTS}: {error}; restore it or fit again") from error
    if found != digest:
        raise ModelError(
            f"{folder / WEIGHTS} is not the file that {folder / DESCRIPTION} describes (sha256 {digest}): "
            "it was changed or is of another run; restore it or fit again"
        )
    try:
        model = _empty_model(config)
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{folder / WEIGHTS} does not fit {folder / DESCRIPTION}: {error}; restore them or fit again"
        ) from error
    return model


def saved_digest(folder: Path) -> str:
    """The SHA-256 of the folder's weights, as its description has it; ModelError where there is none."""
    return _description(folder / DESCRIPTION)[1]


def _empty_model(config: RecGRELAConfig | ReferenceConfig) -> Model:
    if isinstance(config, ReferenceConfig):
        return ReferenceRecGRELA(config)
    return RecGRELA(config, rng=torch.Generator().manual_seed(0))


def _description(path: Path) -> tuple[RecGRELAConfig | ReferenceConfig, str]:
    """The model's configuration, and the digest of its weights."""
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        config = _KINDS[description["model"]](**description["config"])
        _check_types(config)
        digest = str(description["sha256"])
    except OSError as error:
        raise ModelError(
            f"cannot read {path}: {error.strerror}; restore it, or give a folder with a model"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
        raise ModelError(
            f"{path} does not describe a model of this library: {error}; restore it or fit again"
        ) from error
    return config, digest


def _check_types(config: RecGRELAConfig | ReferenceConfig) -> None:
    """Raise TypeError where JSON gave a value of another type, such as 8.0 for a width."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if hint in (int, bool) and type(value) is not hint:
            raise TypeError(f"{name} is {value!r}, expected {hint.__name__}")
