"""Raw ids: strings or 64-bit integers, and nothing that could be mistaken for another id."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from grela.data.readers.scan import Chunk, first_failure, first_true, shown
from grela.errors import ValueInDataError


def read_ids(chunk: Chunk, position: int, name: str, column: str) -> pa.Array:
    """The ids of one column of a chunk as Arrow int64 or string, checked.

    Any integer width becomes int64; any string, string view or dictionary of strings becomes string.
    Raises ValueInDataError at the first null, empty id, control character, integer beyond 64 bits, and for
    every other type.
    """
    values = decoded(chunk.columns[position])
    if values.null_count:
        j = first_true(values.is_null())
        raise _bad(name, chunk, j, column, "a null", "an id", "remove the row or fill it in")
    if pa.types.is_integer(values.type):
        return _integers(values, chunk, name, column)
    if is_text(values.type):
        return _strings(as_string(values, chunk, name, column), chunk, name, column)
    j, advice = 0, "cast it to strings or integers"
    if pa.types.is_floating(values.type):
        j, advice = max(0, first_true(pc.not_equal(values, pc.floor(values)))), "cast it to integers"
    got = f"a {values.type} ({shown(values[j].as_py())})"
    raise _bad(name, chunk, j, column, got, "an id, a string or an integer", advice)


def decoded(values: pa.Array) -> pa.Array:
    """A dictionary array as the values it stands for; any other array as it is."""
    if not pa.types.is_dictionary(values.type):
        return values
    words = values.dictionary
    # Arrow has no `take` for string views.
    return (words.cast(pa.string()) if pa.types.is_string_view(words.type) else words).take(values.indices)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def as_string(values: pa.Array, chunk: Chunk, name: str, column: str) -> pa.Array:
    """Text of any Arrow layout as `string`, every value valid UTF-8."""
    try:
        values.validate(full=True)
        return values.cast(pa.string())
    except pa.ArrowException as error:
        j = first_failure(values, lambda part: part.validate(full=True))
        raise _bad(
            name, chunk, j, column, "text that is not UTF-8", "UTF-8", "write the file again"
        ) from error


def canonical_integers(strings: pa.Array) -> pa.Array | None:
    """The strings as int64, if writing each integer out gives the very same string; else None ("007", "+5", "")."""
    try:
        integers = strings.cast(pa.int64())
    except pa.ArrowException:
        return None
    same = pc.all(pc.equal(integers.cast(pa.string()), strings), min_count=0).as_py()
    return integers if same else None


def _integers(values: pa.Array, chunk: Chunk, name: str, column: str) -> pa.Array:
    try:
        return values.cast(pa.int64())
    except pa.ArrowException as error:
        j = first_failure(values, lambda part: part.cast(pa.int64()))
        got = shown(values[j].as_py())
        raise _bad(name, chunk, j, column, got, "an integer below 2^63", "cast the ids to strings") from error


def _strings(values: pa.Array, chunk: Chunk, name: str, column: str) -> pa.Array:
    j = first_true(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(values)), 0))
    if j >= 0:
        got = f"an empty id ({shown(values[j].as_py())})"
        raise _bad(name, chunk, j, column, got, "an id", "remove the row or fill it in")
    if _may_hold_control_characters(values):
        j = first_true(pc.match_substring_regex(values, r"\p{Cc}"))
        if j >= 0:
            got = f"a control character in {shown(values[j].as_py())}"
            raise _bad(name, chunk, j, column, got, "an id of printable characters", "clean the ids")
    return values


def _may_hold_control_characters(values: pa.Array) -> bool:
    """A look at the bytes: below 32, 127, or 0xC2, which begins the code points 128 to 191."""
    data = values.buffers()[2]
    if data is None:
        return False
    text = np.frombuffer(data, dtype=np.uint8)
    return bool(((text < 32) | (text == 127) | (text == 0xC2)).any())


def padded_cores(values: pa.Array) -> list[str]:
    """What is left of the ids of a string column that have white space around them, without it."""
    trimmed = pc.utf8_trim_whitespace(values)
    cores: list[str] = pc.unique(trimmed.filter(pc.not_equal(trimmed, values))).to_pylist()
    return cores


def refuse_padded_twins(
    chunks: Iterator[Chunk], position: int, name: str, column: str, cores: set[str]
) -> None:
    """Raise ValueInDataError if two ids of a string column differ only in white space around them.

    `cores` are the `padded_cores` of the whole column: one string in memory for each id with such white space.
    """
    padded = pa.array(sorted(cores), pa.string())
    first_seen: dict[str, tuple[str, str]] = {}
    for chunk in chunks:
        values = read_ids(chunk, position, name, column)
        trimmed = pc.utf8_trim_whitespace(values)
        rows = np.flatnonzero(pc.is_in(trimmed, value_set=padded).to_numpy(zero_copy_only=False))
        pairs = zip(values.take(rows).to_pylist(), trimmed.take(rows).to_pylist(), rows, strict=True)
        for raw, core, j in pairs:
            before, place = first_seen.setdefault(core, (raw, chunk.place(int(j))))
            if before != raw:
                raise ValueInDataError(
                    f"{name}: column {column!r} is {shown(before)} at {place} and {shown(raw)} at "
                    f"{chunk.place(int(j))}: they differ only in white space; make them one id or two"
                )


def _bad(name: str, chunk: Chunk, j: int, column: str, got: str, expected: str, do: str) -> ValueInDataError:
    return ValueInDataError(
        f"{name}, {chunk.place(j)}: column {column!r} has {got}, expected {expected}; {do}"
    )
