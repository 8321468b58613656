"""What every reader gives: a header, and the chosen columns again and again, each row with its place in the source."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROWS_PER_CHUNK = 1 << 17


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows of a source: one Arrow array per chosen column, types as they came.

    first: number of the first row, counted as `unit` ("line" or "row") says, from 1.
    numbers: int64 [rows], where a row is not one line (quoted line breaks); else None.
    """

    columns: tuple[pa.Array, ...]
    first: int
    unit: str
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def place(self, j: int) -> str:
        """Where row j of the chunk stands in the source: "line 7"."""
        return f"{self.unit} {self.first + j if self.numbers is None else int(self.numbers[j])}"


@dataclass(frozen=True, eq=False)
class Scan:
    """An opened source.

    name: for messages, the path or "data frame".
    header: the names of all columns.
    how: how it was read, for messages ("CSV, split at ','").
    typed: whether values carry a type; in a typed source the text "5" is text, in CSV it is a number.
    chunks: from positions in the header, a fresh bounded-memory pass over these columns.
    """

    name: str
    header: tuple[str, ...]
    how: str
    typed: bool
    chunks: Callable[[Sequence[int]], Iterator[Chunk]]


def first_true(mask: pa.Array) -> int:
    """The position of the first true value of a boolean array, -1 if there is none."""
    position: int = pc.index(mask, True).as_py()
    return position


def first_failure(values: pa.Array, convert: Callable[[pa.Array], object]) -> int:
    """The position of the first value that `convert` refuses with an Arrow error; it must refuse one.

    Bisection: a prefix converts if and only if each of its values does.
    """
    good, bad = 0, len(values)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            convert(values.slice(good, middle - good))
        except pa.ArrowException:
            bad = middle
        else:
            good = middle
    return good


def shown(value: object) -> str:
    """A value for a message: quoted, and cut when long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
