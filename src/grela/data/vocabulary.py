"""Raw ids, as they came in, against dense ids, as the model counts them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from grela.errors import DataError

RawId = str | int

# 64 bits have at most 19 digits.
_INTEGER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Distinct raw ids in a fixed order; the dense id of `ids[j]` is `first + j`.

    `ids` is an Arrow array of strings or 64-bit integers. Users count from 0; items count from 1,
    since item 0 is padding.
    """

    ids: pa.Array
    first: int

    def __post_init__(self) -> None:
        if not (pa.types.is_int64(self.ids.type) or pa.types.is_string(self.ids.type)):
            raise DataError(f"ids are {self.ids.type}, expected int64 or string")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def integers(self) -> bool:
        """Whether raw ids are integers (else they are strings)."""
        return bool(pa.types.is_int64(self.ids.type))

    @property
    def unknown(self) -> int:
        """The dense id that stands for a raw id that is not here."""
        return self.first - 1

    @cached_property
    def _position(self) -> dict[RawId, int]:
        return {raw: j for j, raw in enumerate(self.ids.to_pylist())}

    def encode(self, raw: Iterable[RawId]) -> np.ndarray:
        """Dense ids, int64; `unknown` where a raw id is not here.

        An integer id may be given as its decimal string and the reverse, as a command line does.
        """
        return np.fromiter((self._encode_one(r) for r in raw), dtype=np.int64)

    def _encode_one(self, raw: RawId) -> int:
        if self.integers and isinstance(raw, str):
            if not _INTEGER.fullmatch(raw.strip()):
                return self.unknown
            raw = int(raw)
        elif not self.integers and isinstance(raw, int):
            raw = str(raw)
        position = self._position.get(raw)
        return self.unknown if position is None else self.first + position

    def decode(self, dense: Sequence[int] | np.ndarray) -> list[RawId]:
        """Raw ids of dense ids, as Python strings or integers."""
        indices = np.asarray(dense, dtype=np.int64) - self.first
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            bad = int(indices[(indices < 0) | (indices >= len(self))][0]) + self.first
            raise DataError(f"dense id {bad} is outside {self.first}..{self.first + len(self) - 1}")
        raw: list[RawId] = self.ids.take(pa.array(indices)).to_pylist()
        return raw
