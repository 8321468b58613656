"""The compiled kernels as functions of tensors. Shapes and types are the caller's duty: see the headers beside this.

Activations may be float32 or bfloat16; everything accumulated or normalised is float32.
"""

import ctypes
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from grela.ops.compiled.build import load_library

# P positions, D width, C columns, N items

_ENDINGS = {torch.float32: "f32", torch.bfloat16: "bf16"}
_POINTER, _SIZE, _REAL, _SEED = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_uint64
_ARGUMENTS: dict[str, list[Any]] = {
    "block_forward": [_POINTER] * 7,
    "block_backward": [_POINTER] * 9,
    "block_last_forward": [_POINTER] * 6,
    "block_last_backward": [_POINTER] * 8,
    "row_gradients": [_POINTER] * 8,
    "softmax_loss": [*[_POINTER] * 5, *[_SIZE] * 4, *[_POINTER] * 2],
}
_MASK_ARGUMENTS: list[Any] = [_REAL, _SEED, _SIZE, _SIZE, _POINTER]


class Shape(ctypes.Structure):
    """`Shape` of block.h; for block_last_* `B` is the number of histories and `length` that of all positions."""

    _fields_ = (
        *((name, _SIZE) for name in ("B", "length", "D", "F", "H", "W")),
        *((name, _REAL) for name in ("norm_eps", "eps", "rate")),
        *((name, _SEED) for name in ("seed_inside", "seed_after")),
        ("whole", _SIZE),
    )


class Row(ctypes.Structure):
    """`Row` of row.h."""

    _fields_ = (
        *(
            (name, _POINTER)
            for name in ("items", "targets", "segments", "turns", "kept", "added", "by_added")
        ),
        *(
            (name, _POINTER)
            for name in ("history", "start", "end", "count_bias", "age_bias", "by_count", "by_age")
        ),
        ("item_bias", _POINTER),
        ("by_item_bias", _POINTER),
        ("classes", _POINTER),
        ("K", _SIZE),
        *((name, _POINTER) for name in ("when", "maps", "by_when", "by_maps")),
        ("places", _POINTER),
        ("after_targets", _POINTER),
        ("Q", _SIZE),
        *((name, _POINTER) for name in ("after_start", "after_end", "map", "by_map")),
        ("weight", _REAL),
        *((name, _SIZE) for name in ("M", "N", "tile")),
        ("rate", _REAL),
        ("seed", _SEED),
        ("share", _REAL),
    )


def addresses(tensors: Iterable[Tensor | None]) -> Any:
    """A C array of the addresses of contiguous tensors, null for None: what a struct of pointers is."""
    found = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    return (_POINTER * len(found))(*found)


@cache
def kernel(name: str, dtype: torch.dtype) -> Any:
    """The C function of one kernel for activations of `dtype`. Calling it releases the interpreter."""
    function = getattr(load_library(), f"{name}_{_ENDINGS[dtype]}")
    function.argtypes = _ARGUMENTS[name]
    function.restype = ctypes.c_double if name in ("softmax_loss", "row_gradients") else None
    return function


def dropout_mask(rate: float, seed: int, rows: int, columns: int) -> Tensor:
    """What the kernels multiply by at each place of a [rows, columns] matrix: 0 or 1 / (1 - rate)."""
    function = load_library().dropout_mask
    function.argtypes = _MASK_ARGUMENTS
    function.restype = None
    mask = torch.empty(rows, columns)
    function(rate, seed, rows, columns, mask.data_ptr())
    return mask
