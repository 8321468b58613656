"""Checkpoints that survive a kill, a full disk and a damaged file; safetensors with JSON inside, no pickle.

A checkpoint is written beside the last one, synced, and then put in its place in one rename; the one
before is kept as `checkpoint.previous.safetensors`. A digest tells a whole file from a damaged one.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from grela.errors import CheckpointError
from grela.models.tensors import chunks, write_tensors

CURRENT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that training needs to go on: named tensors, and JSON values (place in training, metrics so far)."""

    tensors: Mapping[str, Tensor]
    progress: Mapping[str, Any]


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Put `checkpoint` in the folder; raises CheckpointError, leaving the last one whole, if that fails."""
    tensors, progress = checkpoint.tensors, json.dumps(checkpoint.progress)
    metadata = {"progress": progress, "digest": _digest(tensors, progress)}
    current, fresh = folder / CURRENT, folder / (CURRENT + ".part")
    try:
        write_tensors(fresh, tensors, metadata)
        if current.exists():
            os.replace(current, folder / PREVIOUS)
        os.replace(fresh, current)
        sync_folder(folder)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {current}: {error.strerror or error}. The checkpoint before it is untouched: "
            "make room and run the same command again, it goes on from there"
        ) from error


def read_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint of the folder, None if there never was one, and what is to be said of it.

    Raises CheckpointError if there are checkpoints, but none can be read.
    """
    notices: list[str] = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return _read(path), notices
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            notices.append(
                f"{path} is damaged ({error}); the events trained on since the one before are lost"
            )
    if notices:
        raise CheckpointError(
            "; ".join(notices) + f". No whole checkpoint is left: remove {folder} to start anew"
        )
    return None, notices


def remove_checkpoints(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    for name in (CURRENT, PREVIOUS):
        (folder / name).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the folder's renames durable, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if metadata["digest"] != _digest(tensors, metadata["progress"]):
        raise ValueError("its digest does not fit its content")
    return Checkpoint(tensors, json.loads(metadata["progress"]))


def _digest(tensors: Mapping[str, Tensor], progress: str) -> str:
    digest = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        for part in chunks(tensors[name]):
            digest.update(part)
    return digest.hexdigest()
