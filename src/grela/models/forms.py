"""Which form computes a model's blocks: PyTorch's operators, or kernels that are equal to them and faster."""

from dataclasses import dataclass
from typing import Literal

import torch

from grela.errors import ConfigError, KernelError
from grela.models.recgrela import RecGRELA
from grela.nn.block import Block, BlockForm
from grela.nn.compiled_block import compiled_block, unsupported
from grela.ops.compiled.build import load_library

Kernels = Literal["auto", "torch", "compiled"]


@dataclass(frozen=True)
class ChosenForm:
    """A form of the block by its name, and why it is not the fastest there is, if so."""

    name: str
    block: BlockForm
    why_not_compiled: str | None = None


TORCH = ChosenForm("torch", Block.forward)


def choose_form(model: RecGRELA, kernels: Kernels) -> ChosenForm:
    """The form for `kernels`: "torch", "compiled" or "auto", which is compiled where that can be had.

    Raises KernelError where "compiled" cannot be had, ConfigError at any other word.
    """
    if kernels == "torch":
        return TORCH
    if kernels not in ("auto", "compiled"):
        raise ConfigError(f"kernels is {kernels!r}, expected 'auto', 'torch' or 'compiled'")
    why_not = _why_not_compiled(model)
    if why_not is None:
        return ChosenForm("compiled", compiled_block)
    if kernels == "compiled":
        raise KernelError(f"no compiled kernels for this model: {why_not}")
    return ChosenForm("torch", Block.forward, why_not)


def _why_not_compiled(model: RecGRELA) -> str | None:
    device: torch.device = model.embedding.weight.device
    if device.type != "cpu":
        return f"they are for the CPU, and the model is on {device}"
    if model.config.form != "causal":
        return f"they are for the causal form, and the model is {model.config.form}"
    why_not = unsupported(model.each_block()[0])
    if why_not is not None:
        return why_not
    try:
        load_library()
    except KernelError as error:
        return str(error)
    return None
