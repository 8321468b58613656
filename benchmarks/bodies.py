"""Models' bodies for `length.py`: stacks of blocks that differ in what mixes positions; whole rows, or event by event.

    X = X + Mix(LayerNorm(X));   X = X + FeedForward(LayerNorm(X))

RecGRELA's are the library's own blocks, turns included. The other mixers stand in the same block: softmax attention
with RecGRELA's heads and without positions, which would be added to the embeddings; Mamba with Mamba4Rec's sizes; GRU.
Embedding and scores are left out: they are alike for all and know no length.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from grela.models.forms import Kernels, choose_form
from grela.models.mamba4rec import Mamba4RecConfig
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.attention import LayerState
from grela.nn.block import LAYER_NORM_EPS
from grela.nn.feed_forward import FeedForward
from grela.nn.init import initialise
from grela.nn.mamba import Mamba, MambaState
from grela.ops.linear_attention import AttentionState
from grela.ops.selective_scan import scan_for

# T positions, L events of the past, D width, H heads, M layers

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


class Size(NamedTuple):
    """Width D, heads and layers of a body."""

    width: int
    heads: int
    layers: int


class Body(Protocol):
    """What is measured. States hold random numbers: a step's time depends on their size, not on what they hold."""

    def __call__(self, x: Tensor) -> Tensor:
        """One history without a past: [1, T, D] gives [1, T, D], causal."""

    def weights(self) -> list[Tensor]:
        """What a backward pass has gradients for, besides x."""

    def state(self, events: int, rng: torch.Generator) -> Any:
        """Of the size that it has after so many events."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One more event: [1, D] gives [1, D] and the state after it."""

    @property
    def form(self) -> str:
        """What computes it, in words."""


class Ours:
    """RecGRELA's blocks by one of its forms."""

    def __init__(self, size: Size, rng: torch.Generator, kernels: Kernels) -> None:
        config = RecGRELAConfig(num_items=1, width=size.width, heads=size.heads, layers=size.layers)
        self.model = RecGRELA(config, rng=rng)
        self.chosen = choose_form(self.model, kernels)
        self.form = f"{self.chosen.block.__module__}.{self.chosen.block.__qualname__}"

    def __call__(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
        return self._rows(x, positions, self.model.empty_state(1).layers)[0]

    def weights(self) -> list[Tensor]:
        return list(self.model.blocks.parameters())

    def state(self, events: int, rng: torch.Generator) -> tuple[tuple[LayerState, ...], Tensor]:
        # Sums of positive features: drawn positive, so that no denominator is near 0.
        empty = self.model.empty_state(1)
        layers = tuple(
            LayerState(AttentionState(*(_drawn(part, rng) for part in attention)), _drawn(tail, rng))
            for attention, tail in empty.layers
        )
        return layers, empty.events + events

    def step(self, x: Tensor, state: tuple[tuple[LayerState, ...], Tensor]) -> tuple[Tensor, Any]:
        layers, events = state
        if self.chosen.name != "torch":
            y, after = self._rows(x.unsqueeze(1), events.unsqueeze(1), layers)
            return y.squeeze(1), (after, events + 1)
        turns, after = self.model.turns(events), []
        for block, before in zip(self.model.each_block(), layers, strict=True):
            x, layer = block.step(x, turns, before)
            after.append(layer)
        return x, (tuple(after), events + 1)

    def _rows(
        self, x: Tensor, positions: Tensor, layers: tuple[LayerState, ...]
    ) -> tuple[Tensor, tuple[LayerState, ...]]:
        turns, after = self.model.turns(positions), []
        for block, before in zip(self.model.each_block(), layers, strict=True):
            x, layer = self.chosen.block(block, x, turns, torch.zeros_like(positions), before, None)
            after.append(layer)
        return x, tuple(after)


class Cache(NamedTuple):
    """Keys and values [1, H, room, K] of the first `events` places; a step writes into the next, in place."""

    keys: Tensor
    values: Tensor
    events: int


class FusedSoftmax(nn.Module):
    """Multi-head softmax attention by the framework's fused kernels; RuntimeError where none of them can be had."""

    form = "torch.nn.functional.scaled_dot_product_attention, fused kernels alone"

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.query, self.key, self.value, self.out = (nn.Linear(size.width, size.width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._split(x)
        with sdpa_kernel(FUSED):
            return self._joined(scaled_dot_product_attention(q, k, v, is_causal=True))

    def state(self, events: int, rng: torch.Generator) -> Cache:
        weight = self.out.weight
        # As the projections give keys and values, so that no step has to convert them.
        device = weight.device.type
        products = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        shape = (1, self.heads, events + 1, len(weight) // self.heads)
        return Cache(*(_drawn(weight.new_empty(shape, dtype=products), rng) for _ in range(2)), events)

    def step(self, x: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        q, k, v = self._split(x.unsqueeze(1))
        keys, values, events = state
        keys[:, :, events], values[:, :, events] = k[:, :, 0], v[:, :, 0]
        past = slice(events + 1)
        with sdpa_kernel(FUSED):
            mixed = scaled_dot_product_attention(q, keys[:, :, past], values[:, :, past])
        return self._joined(mixed).squeeze(1), Cache(keys, values, events + 1)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (
            of(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for of in (self.query, self.key, self.value)
        )
        return q, k, v

    def _joined(self, mixed: Tensor) -> Tensor:
        return self.out(mixed.transpose(1, 2).flatten(2))


class SelectiveScan(nn.Module):
    """Mamba; the scan is the one that its device has."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        defaults = Mamba4RecConfig()
        self.mamba = Mamba(size.width, state=defaults.state, taps=defaults.taps, expand=defaults.expand)

    @property
    def form(self) -> str:
        return f"grela.nn.mamba.Mamba, scan {self._scan.__name__}"

    @property
    def _scan(self) -> Callable[..., Tensor]:
        return scan_for(self.mamba.log_A.device)

    def forward(self, x: Tensor) -> Tensor:
        return self.mamba(x, self._scan)

    def state(self, events: int, rng: torch.Generator) -> MambaState:
        return MambaState(*(_drawn(part, rng) for part in self.mamba.empty_state(1)))

    def step(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        return self.mamba.step(x, state)


class GatedUnit(nn.Module):
    """torch.nn.GRU of one layer."""

    form = "torch.nn.GRU"

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gru = nn.GRU(size.width, size.width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]

    def state(self, events: int, rng: torch.Generator) -> Tensor:
        return _drawn(self.gru.weight_hh_l0.new_empty(1, 1, self.gru.hidden_size), rng)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.gru(x.unsqueeze(1), state)
        return y.squeeze(1), state


class Stack(nn.Module):
    """Blocks of one kind of mixer."""

    def __init__(self, size: Size, rng: torch.Generator, mixer: Callable[[Size], nn.Module]) -> None:
        super().__init__()
        with torch.device("meta"):
            self.norms = nn.ModuleList(_norm(size) for _ in range(size.layers))
            self.mixers = nn.ModuleList(mixer(size) for _ in range(size.layers))
            self.feed_norms = nn.ModuleList(_norm(size) for _ in range(size.layers))
            self.feeds = nn.ModuleList(FeedForward(size.width, dropout=0.0) for _ in range(size.layers))
        self.to_empty(device=rng.device)
        initialise(self, rng)

    @property
    def form(self) -> str:
        return self.mixers[0].form

    def weights(self) -> list[Tensor]:
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        for norm, mix, feed_norm, feed in self._blocks():
            x = x + mix(norm(x))
            x = x + feed(feed_norm(x))
        return x

    def state(self, events: int, rng: torch.Generator) -> tuple[Any, ...]:
        return tuple(mix.state(events, rng) for mix in self.mixers)

    def step(self, x: Tensor, state: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        after = []
        for (norm, mix, feed_norm, feed), before in zip(self._blocks(), state, strict=True):
            y, layer = mix.step(norm(x), before)
            after.append(layer)
            x = x + y
            x = x + feed(feed_norm(x))
        return x, tuple(after)

    def _blocks(self) -> zip:
        return zip(self.norms, self.mixers, self.feed_norms, self.feeds, strict=True)


def _norm(size: Size) -> nn.LayerNorm:
    return nn.LayerNorm(size.width, eps=LAYER_NORM_EPS)


def _drawn(part: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(part.shape, generator=rng, dtype=part.dtype, device=part.device)


BODIES: dict[str, Callable[[Size, torch.Generator], Body]] = {
    "RecGRELA, PyTorch": lambda size, rng: Ours(size, rng, "torch"),
    "RecGRELA, compiled": lambda size, rng: Ours(size, rng, "compiled"),
    "RecGRELA, Triton": lambda size, rng: Ours(size, rng, "triton"),
    "softmax attention": lambda size, rng: Stack(size, rng, FusedSoftmax),
    "Mamba": lambda size, rng: Stack(size, rng, SelectiveScan),
    "GRU": lambda size, rng: Stack(size, rng, GatedUnit),
}
ON: dict[str, tuple[str, ...]] = {
    "cpu": tuple(name for name in BODIES if name != "RecGRELA, Triton"),
    "cuda": tuple(name for name in BODIES if name != "RecGRELA, compiled"),
}
"""The bodies that a device has."""
