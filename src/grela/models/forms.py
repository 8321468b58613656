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
    """The form for `kernels`: "torch", "compiled" or "auto", which is compiled where that can be had.

    Raises KernelError where "compiled" cannot be had, ConfigError at any other word.
    """
    if kernels == "torch":
        return TORCH
    if kernels not in ("auto", "compiled"):
        raise ConfigError(f"kernels is {kernels!r}, expected 'auto', 'torch' or 'compiled'")
    no_kernels = _why_no_kernels(model.embedding.weight.device)
    why_not = no_kernels or _why_not_this(model)
    if why_not is None:
        return ChosenForm("compiled", compiled_block, compiled_softmax)
    if kernels == "compiled":
        raise KernelError(f"no compiled kernels for this model: {why_not}")
    softmax = compiled_softmax if no_kernels is None else softmax_loss_and_gradient
    return ChosenForm("torch", Block.forward, softmax, why_not)


def _why_no_kernels(device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"they are for the CPU, and the model is on {device}"
    try:
        load_library()
    except KernelError as error:
        return str(error)
    return None


def _why_not_this(model: RecGRELA) -> str | None:
    if model.config.form != "causal":
        return f"they are for the causal form, and the model is {model.config.form}"
    return unsupported(model.each_block()[0])
