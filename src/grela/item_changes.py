"""The file of a run's folder that holds what was changed of its catalogue: item_changes.safetensors.

What `grela fit` wrote is never touched: this one file is added, and replaced in one rename by the next change. Without
it the run is as it was trained. It holds the added items' rows (`embeddings` float32 [A, D], `biases` float32 [A]) and,
as JSON in its metadata under `changes`:

    format    1
    model     SHA-256 of the run's model.safetensors: to other weights these rows mean nothing
    added     in the order of their dense ids, each with `item`, `title` if any, and what it was made of: `like` (known
              items and their weights) or `features_of` (how many taught the map) and its `ridges`; `bias` if given
    removed   raw ids

`digest` tells a whole file from a damaged one.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from grela.catalogue import ItemChanges
from grela.errors import RunError
from grela.models.new_items import ItemRows
from grela.models.tensors import write_tensors

ITEM_CHANGES = "item_changes.safetensors"
FORMAT = 1


def write_item_changes(folder: Path, changes: ItemChanges, *, model: str, over: str | None) -> str:
    """Write the file; returns its digest.

    model: the SHA-256 of the weights in the folder; over: the digest of the file that these changes go on from, None
    where there was none. RunError if the file there is another by now, so that no change is lost, or cannot be written.
    """
    added = [
        {**origin, **({"title": changes.titles[raw]} if raw in changes.titles else {})}
        for raw, origin in zip(changes.added, changes.origins, strict=True)
    ]
    text = json.dumps(
        {"format": FORMAT, "model": model, "added": added, "removed": list(changes.removed)},
        ensure_ascii=False,
    )
    digest = _digest(text, changes.rows)
    path = folder / ITEM_CHANGES
    fresh = path.with_name(path.name + ".part")
    tensors = {name: torch.from_numpy(values) for name, values in changes.rows.__dict__.items()}
    try:
        with _alone(folder):
            if (now := _digest_of(path)) != over:
                raise RunError(
                    f"{path} was changed meanwhile (digest {now}, expected {over}); load the run again and repeat"
                )
            write_tensors(fresh, tensors, {"changes": text, "digest": digest})
            os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror or error}; make room and repeat") from error
    return digest


def read_item_changes(folder: Path, *, model: str, width: int) -> tuple[ItemChanges, str | None]:
    """The changes and the file's digest; none and None where there is no file.

    model, width: the SHA-256 of the run's weights, and D. RunError for a file that is damaged or of another model.
    """
    path = folder / ITEM_CHANGES
    if not path.exists():
        return ItemChanges.none(width), None
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            rows = ItemRows(file.get_tensor("embeddings"), file.get_tensor("biases"))
        text, digest = metadata["changes"], metadata["digest"]
        if digest != _digest(text, rows):
            raise ValueError("its digest does not fit its content")
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ValueError(f"it has format {values['format']!r}, expected {FORMAT}")
        changes = _changes(values, rows, width)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunError(
            f"cannot read {path}: {error}; restore it, or remove it to have the run as it was trained"
        ) from error
    if values["model"] != model:
        raise RunError(
            f"{path} was made for other weights ({values['model'][:12]}, the run's are {model[:12]}); remove it, and "
            "add the items again"
        )
    return changes, digest


def _changes(values: dict[str, Any], rows: ItemRows, width: int) -> ItemChanges:
    origins = [{name: x for name, x in one.items() if name != "title"} for one in values["added"]]
    shapes = rows.embeddings.shape, rows.biases.shape
    if shapes != ((len(origins), width), (len(origins),)):
        raise ValueError(
            f"its rows are {shapes[0]} and {shapes[1]} for {len(origins)} items of width {width}"
        )
    if rows.embeddings.dtype != np.float32 or rows.biases.dtype != np.float32:
        raise ValueError(f"its rows are {rows.embeddings.dtype} and {rows.biases.dtype}, expected float32")
    return ItemChanges(
        added=tuple(one["item"] for one in origins),
        rows=rows,
        origins=tuple(origins),
        titles={one["item"]: str(one["title"]) for one in values["added"] if "title" in one},
        removed=tuple(values["removed"]),
    )


def _digest_of(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            return str((file.metadata() or {}).get("digest"))
    except SafetensorError as error:
        raise RunError(f"{path} is damaged ({error}); restore it or remove it") from error


def _digest(text: str, rows: ItemRows) -> str:
    digest = hashlib.sha256(text.encode())
    for values in (rows.embeddings, rows.biases):
        digest.update(np.ascontiguousarray(values, "<f4").tobytes())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; a process that ends lets go."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)
