"""Which form computes a model's blocks and its softmax: PyTorch's operators, or kernels equal to them and faster."""

from dataclasses import dataclass
from typing import Literal

import torch

from grela.errors import ConfigError, KernelError
from grela.models.recgrela import RecGRELA
from grela.nn.block import Block, BlockForm
from grela.nn.compiled_block import compiled_block, unsupported
from grela.ops.compiled.build import load_library
from grela.ops.compiled.softmax import softmax_loss_and_gradient as compiled_softmax
from grela.ops.losses.softmax import LossAndGradient, softmax_loss_and_gradient
from grela.ops.triton.launch import why_no_triton

Kernels = Literal["auto", "torch", "compiled"]


@dataclass(frozen=True)
class ChosenForm:
    """Forms of the block and of the softmax loss, and why they are not the fastest there are, if so."""

    name: str
    block: BlockForm
    softmax: LossAndGradient
    why_not_compiled: str | None = None


TORCH = ChosenForm("torch", Block.forward, softmax_loss_and_gradient)


def choose_form(model: RecGRELA, kernels: Kernels) -> ChosenForm:
    """The form for `kernels`: "torch", "compiled", or "auto": Triton's on CUDA, compiled on a CPU, if they can be had.

    Raises KernelError where "compiled" cannot be had, ConfigError at any other word.
    """
    if kernels == "torch":
        return TORCH
    if kernels not in ("auto", "compiled"):
        raise ConfigError(f"kernels is {kernels!r}, expected 'auto', 'torch' or 'compiled'")
    if kernels == "auto" and model.embedding.weight.device.type == "cuda":
        return _on_cuda(model)
    no_kernels = _why_no_kernels(model.embedding.weight.device)
    why_not = no_kernels or _why_not_this(model)
    if why_not is None:
        return ChosenForm("compiled", compiled_block, compiled_softmax)
    if kernels == "compiled":
        raise KernelError(f"no compiled kernels for this model: {why_not}")
    softmax = compiled_softmax if no_kernels is None else softmax_loss_and_gradient
    return ChosenForm("torch", Block.forward, softmax, why_not)


def _on_cuda(model: RecGRELA) -> ChosenForm:
    why_not = why_no_triton(model.embedding.weight.device)
    if why_not is not None:
        return ChosenForm("torch", Block.forward, softmax_loss_and_gradient, why_not)
    # Triton is optional and takes a while to import.
    from grela.nn.triton_block import triton_block
    from grela.nn.triton_block import unsupported as unsupported_by_triton
    from grela.ops.triton.softmax import triton_softmax

    why_not = _why_not_causal(model) or unsupported_by_triton(model.each_block()[0])
    if why_not is not None:
        narrow = model.embedding.weight.dtype == torch.float32
        softmax = triton_softmax if narrow else softmax_loss_and_gradient
        return ChosenForm("torch", Block.forward, softmax, why_not)
    return ChosenForm("triton", triton_block, triton_softmax)


def _why_no_kernels(device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"they are for the CPU, and the model is on {device}"
    try:
        load_library()
    except KernelError as error:
        return str(error)
    return None


def _why_not_this(model: RecGRELA) -> str | None:
    return _why_not_causal(model) or unsupported(model.each_block()[0])


def _why_not_causal(model: RecGRELA) -> str | None:
    if model.config.form != "causal":
        return f"they are for the causal form, and the model is {model.config.form}"
    return None
