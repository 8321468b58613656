"""Which form computes a model's blocks and its softmax: PyTorch's operators, or kernels equal to them and faster."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import torch

from grela.errors import ConfigError, KernelError
from grela.models.recgrela import RecGRELA
from grela.models.sequential import SequentialModel
from grela.nn.block import PACKED, Block, BlockForm, PackedForms
from grela.nn.compiled_block import compiled_block, unsupported
from grela.nn.compiled_packed_block import COMPILED_PACKED
from grela.ops.compiled import softmax as compiled
from grela.ops.compiled.build import library_path, load_library
from grela.ops.losses.softmax import softmax
from grela.ops.losses.targets import Loss
from grela.ops.losses.without_seen import softmax_without_seen
from grela.ops.triton.launch import why_no_triton

Kernels = Literal["auto", "torch", "compiled", "triton"]


@dataclass(frozen=True)
class ChosenForm:
    """Forms of blocks and of the full softmax losses, and why the compiled ones were not taken, if so.

    `block` computes the blocks of a causal model, `packed` those of a bidirectional one.
    """

    name: str
    block: BlockForm
    packed: PackedForms
    softmax: Loss
    softmax_without_seen: Loss
    why_not_compiled: str | None = None


TORCH = ChosenForm("torch", Block.forward, PACKED, softmax, softmax_without_seen)


def choose_form(
    model: RecGRELA | SequentialModel, kernels: Kernels, *, compile_now: bool = True
) -> ChosenForm:
    """The form for `kernels`: "torch"; "compiled" on a CPU; "triton" on CUDA; or "auto", the device's if it can be had.

    Only RecGRELA has kernels: a `SequentialModel` has PyTorch's form, which computes its softmax on all cores.
    Without `compile_now`, "auto" takes kernels only if they were compiled before: compiling takes some seconds.
    Raises KernelError where "compiled" or "triton" cannot be had, ConfigError at any other word.
    """
    if kernels not in get_args(Kernels):
        raise ConfigError(f"kernels is {kernels!r}, expected one of {', '.join(get_args(Kernels))}")
    if not isinstance(model, RecGRELA):
        if kernels in ("compiled", "triton"):
            raise KernelError(
                f"no {kernels} kernels for a {type(model).__name__}: they are RecGRELA's blocks"
            )
        return TORCH
    if kernels == "torch":
        return TORCH
    if kernels == "triton":
        return _triton(model)
    device = model.embedding.weight.device
    if device.type != "cpu" and kernels == "auto":
        return _triton_or_torch(model)
    why_not = why_no_kernels(device, compile_now=compile_now or kernels == "compiled") or unsupported(
        model.each_block()[0]
    )
    if why_not is None:
        return ChosenForm(
            "compiled", compiled_block, COMPILED_PACKED, compiled.softmax, compiled.softmax_without_seen
        )
    if kernels == "compiled":
        raise KernelError(f"no compiled kernels for this model: {why_not}")
    return replace(TORCH, why_not_compiled=why_not)


def _triton_or_torch(model: RecGRELA) -> ChosenForm:
    try:
        return _triton(model)
    except KernelError as error:
        return replace(TORCH, why_not_compiled=str(error))


def _triton(model: RecGRELA) -> ChosenForm:
    why_not = why_no_triton(model.embedding.weight.device) or _why_not_causal(model)
    if why_not is None:
        # Triton is optional and takes a while to import.
        from grela.nn.triton_block import triton_block
        from grela.nn.triton_block import unsupported as unsupported_by_triton
        from grela.ops.triton.softmax import triton_softmax

        why_not = unsupported_by_triton(model.each_block()[0])
    if why_not is not None:
        raise KernelError(f"no Triton kernels for this model: {why_not}")
    return ChosenForm(
        "triton",
        triton_block,
        PACKED,
        partial(softmax, loss_and_gradient=triton_softmax),
        partial(softmax_without_seen, loss_and_gradient=triton_softmax),
    )


def why_no_kernels(device: torch.device, *, compile_now: bool) -> str | None:
    """Why the compiled kernels cannot be had on `device`; None if they can."""
    if device.type != "cpu":
        return f"they are for the CPU, and the model is on {device}"
    try:
        if not compile_now and not library_path().exists():
            return "they are not compiled yet on this machine"
        load_library()
    except KernelError as error:
        return str(error)
    return None


def _why_not_causal(model: RecGRELA) -> str | None:
    if model.config.form != "causal":
        return f"they are for the causal form, and the model is {model.config.form}"
    return None
