"""Initialisation as in the reference: Linear and Embedding weights N(0, 0.02^2), biases 0, LayerNorm 1 and 0."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from grela.nn.after_next import AfterNext
from grela.nn.decay import Decay
from grela.nn.item_bias import ItemBias
from grela.nn.next_gap import NextGap
from grela.nn.repeats import Repeats

WEIGHT_STD = 0.02


@runtime_checkable
class OwnStart(Protocol):
    """A module that fills its own parameters (not those of modules in it) from a generator."""

    def start_from(self, rng: torch.Generator) -> None:
        """Draw them."""


class XavierLinear(nn.Linear):
    """A linear map that begins by Xavier's rule (Glorot and Bengio, AISTATS 2010), its bias at 0."""

    def start_from(self, rng: torch.Generator) -> None:
        nn.init.xavier_uniform_(self.weight, generator=rng)
        self.bias.zero_()


@contextmanager
def undrawn(device: torch.device) -> Iterator[None]:
    """Modules made in here have parameters on `device` without values yet, for `initialise` to fill.

    Making them on the device "meta" would do as well, but for that torch imports its compiler: seconds.
    """
    with device, _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Leaves a parameter as it is where a module would draw its values."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@torch.no_grad()
def initialise(model: nn.Module, rng: torch.Generator) -> None:
    """Fill every parameter of `model` from `rng`, in the order of its modules.

    Convolutions get the framework's default, uniform in +-1/sqrt(fan in), gated recurrent units Xavier's rule for each
    gate's matrix (Glorot and Bengio, AISTATS 2010) and biases 0; a module may have a way of its own.
    Raises TypeError at a module with parameters of its own that has no rule here.
    """
    for name, module in model.named_modules():
        if isinstance(module, OwnStart):
            module.start_from(rng)
        elif isinstance(module, ItemBias):
            module.weight.zero_()
        elif isinstance(module, nn.Linear | nn.Embedding):
            module.weight.normal_(0, WEIGHT_STD, generator=rng)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.fill_(1)
            module.bias.zero_()
        elif isinstance(module, nn.Conv1d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            module.weight.uniform_(-bound, bound, generator=rng)
            if module.bias is not None:
                module.bias.uniform_(-bound, bound, generator=rng)
        elif isinstance(module, nn.GRU):
            for parameter in module.parameters():
                parameter.zero_()
                if parameter.ndim == 2:
                    for of_gate in parameter.chunk(3):
                        nn.init.xavier_uniform_(of_gate, generator=rng)
        elif isinstance(module, NextGap):
            module.draw(WEIGHT_STD, rng)
        elif isinstance(module, AfterNext):
            module.map.normal_(0, WEIGHT_STD, generator=rng)
        elif isinstance(module, Repeats):
            module.start_at(0.0)
        elif isinstance(module, Decay):
            module.start()
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no initialisation rule for {name}: {type(module).__name__}")
