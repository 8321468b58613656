"""A hash that two splits share exactly when they hold the same sequences, split the same way."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from grela.data.histories import Histories
from grela.data.vocabulary import Vocabulary

_BLOCK = 1 << 20


def fingerprint(histories: Histories, kind: str, boundaries: dict[str, np.ndarray]) -> str:
    """SHA-256, hex, over raw ids, item sequences, boundaries ([U] each) and the kind of the split.

    Times enter through the order that they give and the boundaries that they set, not as numbers: the same
    log in seconds and in microseconds is one data set. The definition, byte by byte, is in docs/data.md.
    """
    digest = hashlib.sha256(b"grela split 1\n" + kind.encode() + b"\n")
    for vocabulary in (histories.users, histories.catalogue):
        digest.update(f"{'int64' if vocabulary.integers else 'string'} {len(vocabulary)}\n".encode())
        for chunk in _id_bytes(vocabulary):
            digest.update(chunk)
    numbers = {"lengths": (histories.lengths, "<i8"), "items": (histories.items, "<i4")}
    numbers |= {name: (array, "<i8") for name, array in boundaries.items()}
    for name, (array, dtype) in numbers.items():
        digest.update(f"{name} {len(array)}\n".encode())
        for start in range(0, len(array), _BLOCK):
            digest.update(np.ascontiguousarray(array[start : start + _BLOCK], dtype=dtype).data)
    return digest.hexdigest()


def _id_bytes(vocabulary: Vocabulary) -> Iterator[bytes]:
    """Integers as 8 bytes, little-endian; strings as their length in 8 such bytes, then UTF-8."""
    for start in range(0, len(vocabulary), _BLOCK):
        ids: pa.Array = vocabulary.ids.slice(start, _BLOCK)
        if vocabulary.integers:
            yield np.ascontiguousarray(ids.to_numpy(), dtype="<i8").tobytes()
        else:
            texts = [text.encode() for text in ids.to_pylist()]
            yield b"".join(len(text).to_bytes(8, "little") + text for text in texts)
