"""The compiled kernels as functions of tensors. Shapes and types are the caller's duty: see the headers beside this.

Activations may be float32 or bfloat16; everything accumulated or normalised is float32.
"""

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from grela.ops.compiled.build import load_library

# P positions, D width, C columns, N items

_ENDINGS = {torch.float32: "f32", torch.bfloat16: "bf16"}
_POINTER, _SIZE, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_DROPOUT = [ctypes.c_double, ctypes.c_uint64]
_SIGNATURES: dict[str, list[Any]] = {
    "normalise": [*[_POINTER] * 3, _FLOAT, *[_SIZE] * 2, *[_POINTER] * 3],
    "normalise_grad": [*[_POINTER] * 6, *[_SIZE] * 2, *[_POINTER] * 3],
    "add_normalise": [*[_POINTER] * 6, _FLOAT, *[_SIZE] * 2, *[_POINTER] * 4],
    "add_normalise_grad": [*[_POINTER] * 7, *[_SIZE] * 2, *[_POINTER] * 5],
    "gelu_dropout": [*[_POINTER] * 2, *_DROPOUT, *[_SIZE] * 2, _POINTER],
    "gelu_dropout_grad": [*[_POINTER] * 3, *_DROPOUT, *[_SIZE] * 2, *[_POINTER] * 2],
    "add_dropout": [*[_POINTER] * 3, *_DROPOUT, *[_SIZE] * 2, _POINTER],
    "add_dropout_grad": [_POINTER, *_DROPOUT, *[_SIZE] * 2, *[_POINTER] * 2],
    "mix": [*[_POINTER] * 6, *[_SIZE] * 5, _FLOAT, *[_POINTER] * 4],
    "mix_grad": [*[_POINTER] * 6, *[_SIZE] * 5, _FLOAT, *[_POINTER] * 8],
    "softmax_grad": [*[_POINTER] * 2, *[_SIZE] * 2],
}
_DROPOUT_MASK: list[Any] = [*_DROPOUT, _SIZE, _SIZE, _POINTER]


@cache
def kernel(name: str, dtype: torch.dtype) -> Any:
    """The C function of one kernel for activations of `dtype`."""
    function = getattr(load_library(), f"{name}_{_ENDINGS[dtype]}")
    function.argtypes = _SIGNATURES[name]
    function.restype = ctypes.c_double if name == "softmax_grad" else None
    return function


def call(name: str, dtype: torch.dtype, *arguments: Tensor | float | int) -> Any:
    """Call a kernel; tensors are passed by their address and must be contiguous."""
    return kernel(name, dtype)(*(x.data_ptr() if isinstance(x, Tensor) else x for x in arguments))


def dropout_mask(rate: float, seed: int, rows: int, columns: int) -> Tensor:
    """What the kernels multiply by at each place of a [rows, columns] matrix: 0 or 1 / (1 - rate)."""
    function = load_library().dropout_mask
    function.argtypes = _DROPOUT_MASK
    function.restype = None
    mask = torch.empty(rows, columns)
    function(rate, seed, rows, columns, mask.data_ptr())
    return mask
