"""The compiled step of users' states and their scores, as functions of addresses: see step.h, met.h and step_scores.h.

What stays the same from call to call is a `StepModel` and its layers, prepared once. Sizes, types and addresses are the
caller's duty; calls release the interpreter.
"""

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from grela.ops.compiled.build import load_library

# D width, N items

S = TypeVar("S", bound=ctypes.Structure)

PANEL = 64
FAR_BELOW = -1e30  # a score that no item has, whose exponential is 0

_POINTER, _SIZE, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_ARGUMENTS: dict[str, tuple[list[Any], Any]] = {
    "step_users": ([_POINTER] * 3, _SIZE),
    "step_one": ([*[_POINTER] * 3, *[_SIZE] * 3, _POINTER, *[_SIZE] * 2], _SIZE),
    "met_note": ([_POINTER, _SIZE, _POINTER, _POINTER, _SIZE, _SIZE], _SIZE),
    "met_note_users": ([_SIZE, *[_POINTER] * 7], None),
    "step_scores": ([_POINTER, _POINTER, _SIZE, _POINTER], None),
    "step_top": ([_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _SIZE, *[_POINTER] * 3], None),
}


def _pointers(*names: str) -> list[tuple[str, Any]]:
    return [(name, _POINTER) for name in names]


class StepScores(ctypes.Structure):
    """`StepScores` of step.h."""

    _fields_ = (("K", _SIZE), *_pointers("panels", "raise", "count_bias", "age_bias", "when", "maps"))


class StepModel(ctypes.Structure):
    """`StepModel` of step.h."""

    _fields_ = (
        *((name, _SIZE) for name in ("M", "D", "F", "H", "W", "N", "places")),
        *((name, _REAL) for name in ("norm_eps", "eps")),
        *_pointers("pace", "items", "positions", "gaps", "norm", "norm_bias"),
        ("scores", StepScores),
    )


class StepLayer(ctypes.Structure):
    """`StepLayer` of step.h."""

    _fields_ = (
        *_pointers("norm", "norm_bias", "inward", "inward_bias", "query_key", "query_key_bias"),
        *_pointers("taps", "taps_bias", "fading", "out", "out_bias", "second_norm", "second_norm_bias"),
        *_pointers("up", "up_bias", "down", "down_bias"),
        ("gated", _SIZE),
    )


class Coming(ctypes.Structure):
    """`Coming` of step.h."""

    _fields_ = (("users", _SIZE), *_pointers("states", "end", "events", "items", "gaps"))


class Prepared(Generic[S]):
    """Tensors that a structure points to, held as long as it is.

    Tensors are float32 or float64, contiguous and on the CPU; None is a null pointer.
    """

    def __init__(
        self,
        kind: type[S],
        given: Mapping[str, Tensor | int | float | ctypes.Structure | None],
    ):
        self.tensors = [value for value in given.values() if isinstance(value, Tensor)]
        fields = {
            name: value.data_ptr() if isinstance(value, Tensor) else value for name, value in given.items()
        }
        self.structure = kind(**fields)


@cache
def step_function(name: str) -> Any:
    """One of the C functions."""
    function = getattr(load_library(), name)
    function.argtypes, function.restype = _ARGUMENTS[name]
    return function


def packed(*weights: Tensor) -> Tensor:
    """Matrices [out, in] side by side as a product's right factor, [in, sum of outs]."""
    side_by_side: Tensor = torch.cat(weights).T.contiguous()
    return side_by_side


def panels(weight: Tensor) -> Tensor:
    """The item table [N, D] as [ceil(N / 64), D, 64], zeros past N."""
    missing = -len(weight) % PANEL
    padded = torch.cat((weight, weight.new_zeros(missing, weight.shape[1])))
    side_by_side: Tensor = padded.unflatten(0, (-1, PANEL)).transpose(1, 2).contiguous()
    return side_by_side


def raising(bias: Tensor | None, num_items: int) -> Tensor:
    """Items' biases [N], or zeros, up to a multiple of 64; `FAR_BELOW` past N."""
    raised = torch.full((num_items + -num_items % PANEL,), FAR_BELOW)
    raised[:num_items] = 0.0 if bias is None else bias
    return raised


def layers_of(layers: Sequence[Prepared[StepLayer]]) -> ctypes.Array[StepLayer]:
    """The layers' structures in one C array."""
    return (StepLayer * len(layers))(*(layer.structure for layer in layers))
