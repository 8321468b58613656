"""RecGRELA exactly as its public reference implementation computes it, to compare with and to convert from.

It differs from `RecGRELA(form="bidirectional")` in four ways, all kept here and nowhere else:

1. Padding on the right takes part: histories are always padded to `max_length`, and item 0 has an embedding.
2. Numerator and denominator are means over `max_length` with 1e-6 added to the denominator: the same as sums
   with 1e-6 * max_length.
3. With one layer there are no residual connections.
4. Item 0 is ranked, and takes part in the loss's softmax.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from grela.errors import ModelError
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.rotary import rotation

# B batch, T positions, D width, N items with padding

EPS_OF_THE_MEAN = 1e-6

# Ours by theirs, of one block.
_BLOCK = {
    "attn.qk": "attention.query_key",
    "attn.conv1d": "attention.conv",
    "in_proj": "attention.value",
    "out_proj": "attention.out",
    "act_proj": "attention.gate",
    "LayerNorm1": "attention_norm",
    "LayerNorm2": "feed_forward_norm",
    "mlp.fc1": "feed_forward.up",
    "mlp.fc2": "feed_forward.down",
}


@dataclass(frozen=True, kw_only=True)
class ReferenceConfig:
    """`num_items` is N without padding, as everywhere here; `max_length` is the T of its training."""

    num_items: int
    width: int
    heads: int
    layers: int
    taps: int
    max_length: int


class ReferenceHidden(NamedTuple):
    """Every stage of one pass: [B, T, D] each, blocks in order."""

    embedded: Tensor
    attention: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class ReferenceRecGRELA(nn.Module):
    """A trained reference model, in evaluation."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        self.config = config
        ours = RecGRELAConfig(
            num_items=config.num_items,
            form="bidirectional",
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            taps=config.taps,
            gaps=False,
            repeats=False,
            item_bias=False,
            next_gaps=0,
            after_next=0.0,
        )
        eps = EPS_OF_THE_MEAN * config.max_length
        self.model = RecGRELA(ours, rng=torch.Generator().manual_seed(0), eps=eps)

    def stages(self, items: Tensor) -> ReferenceHidden:
        """All stages for items int [B, T], padded with 0 on the right to at most `max_length`."""
        length = self.config.max_length
        if items.shape[1] > length:
            raise ModelError(
                f"got histories of {items.shape[1]} items; this reference model takes at most {length}: "
                f"give the last {length}"
            )
        items = pad(items, (0, length - items.shape[1]))
        positions = torch.arange(length, device=items.device).expand(items.shape)
        turns = rotation(positions, self.config.width)
        everything = torch.ones_like(items, dtype=torch.bool)
        x = embedded = self.model.embed(items, positions, None)
        attention, outputs = [], []
        for block in self.model.each_block():
            branches = block.attention.whole(block.attention_norm(x), turns, everything)
            attention.append(branches.attention + branches.local)
            if self.config.layers == 1:
                x = block.feed_forward(block.feed_forward_norm(block.attention.mix(branches)))
            else:
                x = block.finish(x, branches)
            outputs.append(x)
        return ReferenceHidden(embedded, tuple(attention), tuple(outputs))

    def last_hidden(self, items: Tensor, lengths: Tensor) -> Tensor:
        """The hidden state [B, D] at each history's last event: items int [B, T], lengths int [B] from 1."""
        hidden = self.stages(items).outputs[-1]
        last: Tensor = hidden[torch.arange(len(items), device=items.device), lengths - 1]
        return last

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores [B, N] for hidden states [B, D]; column j is item j, padding included."""
        return hidden @ self.model.embedding.weight.T


def reference_model(
    state_dict: Mapping[str, Tensor | np.ndarray], *, num_heads: int, max_length: int
) -> ReferenceRecGRELA:
    """The model of a reference state dict of tensors or numpy arrays, under the reference's own names.

    Tables of rotations that the reference stores beside its weights are formed anew. Raises ModelError for
    a missing, unknown or misshapen entry.
    """
    tensors = {
        name: torch.as_tensor(value, dtype=torch.float32)
        for name, value in state_dict.items()
        if ".rope" not in name.lower()
    }
    config = _config(tensors, num_heads, max_length)
    model = ReferenceRecGRELA(config)
    names = _names(config.layers)
    unknown, missing = sorted(tensors.keys() - names.keys()), sorted(names.keys() - tensors.keys())
    if unknown or missing:
        raise ModelError(
            f"this is not a reference RecGRELA's state dict: missing {missing or 'nothing'}, "
            f"unknown {unknown or 'nothing'}"
        )
    own = model.model.state_dict()
    for theirs, ours in names.items():
        if tensors[theirs].shape != own[ours].shape:
            raise ModelError(
                f"{theirs} is {list(tensors[theirs].shape)}, expected {list(own[ours].shape)} for {config}"
            )
    model.model.load_state_dict({ours: tensors[theirs] for theirs, ours in names.items()})
    return model


def _config(tensors: Mapping[str, Tensor], num_heads: int, max_length: int) -> ReferenceConfig:
    embedding = tensors.get("item_embedding.weight")
    kernel = tensors.get("GRELA_block.0.attn.conv1d.weight")
    if embedding is None or kernel is None or embedding.ndim != 2 or kernel.ndim != 3:
        raise ModelError(
            "this is not a reference RecGRELA's state dict: item_embedding.weight [N, D] and "
            f"GRELA_block.0.attn.conv1d.weight [D, 1, taps] are expected, got {sorted(tensors)[:6]} ..."
        )
    if max_length < 1:
        raise ModelError(
            f"max_length is {max_length}, expected the length of the model's training, 1 or more"
        )
    layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("GRELA_block."))
    return ReferenceConfig(
        num_items=embedding.shape[0] - 1,
        width=embedding.shape[1],
        heads=num_heads,
        layers=layers,
        taps=kernel.shape[2],
        max_length=max_length,
    )


def _names(layers: int) -> dict[str, str]:
    """Our parameter names by theirs."""
    names = {"item_embedding.weight": "embedding.weight"}
    names |= {f"LayerNorm.{part}": f"norm.{part}" for part in ("weight", "bias")}
    for layer in range(layers):
        for theirs, ours in _BLOCK.items():
            for part in ("weight", "bias"):
                names[f"GRELA_block.{layer}.{theirs}.{part}"] = f"blocks.{layer}.{ours}.{part}"
    return names
