"""Named tensors as a safetensors file, written from the memory where they lie.

The format (huggingface/safetensors, README, "Format"): the length of a JSON header as 8 bytes, little-endian; the
header, padded with spaces; the tensors' bytes one after the other. The library's own writer copies all tensors
into one string of bytes, or leaves an unnamed file behind when it is killed; its reader reads what this writes.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

CHUNK = 1 << 26
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write and sync to the disk; returns the SHA-256 of the file. OSError where it cannot be written."""
    # The largest elements first: then each tensor begins at a multiple of its element's size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for part in _parts(ordered, metadata):
            file.write(part)
            digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def chunks(tensor: Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor in row-major order, `CHUNK` at a time, without a copy where it lies so on the CPU."""
    if not tensor.numel():  # which cannot be viewed as bytes
        return
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    for low in range(0, len(flat), CHUNK):
        yield flat[low : low + CHUNK].numpy().data


def _parts(ordered: list[tuple[str, Tensor]], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    yield _header(ordered, metadata)
    for _, tensor in ordered:
        yield from chunks(tensor)


def _header(ordered: list[tuple[str, Tensor]], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
