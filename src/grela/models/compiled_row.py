"""A packed row's loss and its gradients by all parameters, in one call of the compiled kernels.

What `RecGRELA.forward`, the full softmax and autograd compute, without the hundreds of small operators between
them, so that threads computing rows side by side never wait for the interpreter.
"""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from grela.models.recgrela import RecGRELA, State
from grela.nn.attention import LayerState
from grela.nn.block import LAYER_NORM_EPS
from grela.nn.compiled_block import weights_of
from grela.ops.compiled.functions import Row, Shape, addresses, kernel
from grela.ops.compiled.softmax import TILE, fits
from grela.ops.dropout import keep_mask
from grela.ops.linear_attention import AttentionState
from grela.ops.losses.targets import AfterNext, SeenItems

# P positions of the row, D width, M layers


class PackedItems(NamedTuple):
    """A row's input and targets, int64 [P].

    Items that were `seen` are raised by the model's `repeats`; where it has none they have no part in the softmax.
    """

    items: Tensor
    segments: Tensor
    positions: Tensor
    targets: Tensor
    seen: SeenItems | None = None
    gaps: Tensor | None = None
    next_gaps: Tensor | None = None
    after: AfterNext | None = None


class FlatGradients:
    """Gradients by all parameters of a model as one vector, and the parts of it that are each parameter's."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.shapes = [parameter.shape for parameter in parameters]
        self.sizes = [parameter.numel() for parameter in parameters]

    def zeros(self) -> Tensor:
        """The vector before anything is added to it."""
        return torch.zeros(sum(self.sizes))

    def parts(self, flat: Tensor) -> list[Tensor]:
        """Views of the vector, in the order of the parameters."""
        return [part.view(shape) for part, shape in zip(flat.split(self.sizes), self.shapes, strict=True)]


def computes_rows(model: RecGRELA) -> bool:
    """Whether the kernels, where they can be had, compute whole rows of this model."""
    config = model.config
    return config.form == "causal" and fits(model.embedding.weight)


def row_gradients(
    model: RecGRELA,
    row: PackedItems,
    state: State,
    rng: torch.Generator,
    *,
    dtype: torch.dtype,
    share: float,
) -> tuple[float, Tensor, State]:
    """The mean loss times `share`, its gradients as a `FlatGradients` vector, and the state of the last history.

    `state` is that of one history, which the first segment continues. Raises IndexError at an item or a target
    outside 1..N.
    """
    P, M, N = len(row.items), model.config.layers, model.config.num_items
    after_next = None if model.after_next is None else row.after
    if model.after_next is not None and after_next is None:
        raise ValueError("the row does not say what follows its targets; this model learns from row.after")
    later = row.targets[:0] if after_next is None else after_next.items
    for name, ids in (("items", row.items), ("targets", row.targets), ("what follows", later)):
        if len(ids) and not 1 <= int(ids.min()) <= int(ids.max()) <= N:
            raise IndexError(f"{name} from {ids.min()} to {ids.max()}, expected 1 to {N}")
    seeds = torch.randint(2**63 - 1, (2 * M + 1,), generator=rng).tolist()
    shapes = _shapes(model, P, seeds)
    turns = torch.view_as_real(model.turns(row.positions))
    kept = _kept(model, row.segments, rng)
    targets = row.targets - 1
    tables = model.added(row.positions, row.gaps)
    added = sum_of_rows(tables)
    by_added = None if added is None else torch.empty_like(added)

    after = [_copied(layer) for layer in state.layers]
    gradients = FlatGradients(list(model.parameters()))
    flat = gradients.zeros()
    by = dict(zip((id(p) for p in model.parameters()), gradients.parts(flat), strict=True))
    seen = (None,) * 3 if row.seen is None else (row.seen.history, row.seen.start, row.seen.end)
    bias = (None,) * 2 if row.seen is None or model.repeats is None else model.repeats.bias
    by_bias = (None if part is None else by[id(part)] for part in bias)
    arrays = (row.items, targets, row.segments, turns, kept, added, by_added, *seen, *bias, *by_bias)
    of_items: tuple[Tensor | None, ...] = (None,) * 2
    if (item_bias := model.item_bias) is not None:
        of_items = (item_bias.weight[1:], by[id(item_bias.weight)][1:])
    classes: Tensor | None = None
    mixture: tuple[Tensor | None, ...] = (None,) * 4
    K = 0
    if (next_gap := model.next_gap) is not None:
        classes, K = next_gap.classes(row.next_gaps), model.config.next_gaps
        mixture = (next_gap.when, next_gap.maps, by[id(next_gap.when)], by[id(next_gap.maps)])
    following: tuple[Any, ...] = (None, None, 0, *(None,) * 4, 0.0)
    later = later - 1
    if (mapping := model.after_next) is not None and after_next is not None:
        met = after_next.seen
        following = (
            *_at(after_next.places, later),
            len(later),
            *_at(met.start, met.end, mapping.map, by[id(mapping.map)]),
            model.config.after_next,
        )
    numbers = (M, N, TILE, model.config.dropout, seeds[-1], share / P)
    given = Row(*_at(*arrays, *of_items, classes), K, *_at(*mixture), *following, *numbers)
    embedding = (model.embedding.weight, model.norm.weight, model.norm.bias)
    weights = [weights_of(block) for block in model.each_block()]
    fading = [of_block.log_fading for of_block in weights]
    by_fading = [None if log is None else torch.zeros_like(log) for log in fading]
    by_weights = [
        grad
        for of_block, by_log in zip(weights, by_fading, strict=True)
        for grad in (*(by[id(weight)] for weight in of_block[:-1]), by_log)
    ]
    loss = kernel("row_gradients", dtype)(
        ctypes.addressof(shapes),
        ctypes.addressof(given),
        addresses(embedding),
        addresses(weight for of_block in weights for weight in of_block),
        addresses(part for layer in state.layers for part in (*layer.attention, layer.tail)),
        addresses(part for layer in after for part in (*layer.attention, layer.tail)),
        addresses(by[id(weight)] for weight in embedding),
        addresses(by_weights),
    )
    for block, log, by_log in zip(model.each_block(), fading, by_fading, strict=True):
        if (decay := block.attention.decay) is not None and log is not None:
            by[id(decay.log_time)].add_(torch.autograd.grad(log, decay.log_time, by_log)[0])
    if by_added is not None:
        for table, index in tables:
            by[id(table.weight)].index_add_(0, index, by_added)
    return loss * share / P, flat, State(tuple(after), row.positions[-1:] + 1)


def sum_of_rows(tables: list[tuple[nn.Embedding, Tensor]]) -> Tensor | None:
    """What is added to the items' embeddings, float32 [P, D]; None for nothing."""
    with torch.no_grad():
        parts = [table(index) for table, index in tables]
    return functools.reduce(torch.add, parts) if parts else None


def _at(*arrays: Tensor | None) -> list[int | None]:
    return [None if array is None else array.data_ptr() for array in arrays]


def _shapes(model: RecGRELA, P: int, seeds: list[int]) -> ctypes.Array[Shape]:
    config = model.config
    shapes = []
    for m, block in enumerate(model.each_block()):
        sizes = (1, P, config.width, block.feed_forward.up.out_features, config.heads, config.taps)
        numbers = (LAYER_NORM_EPS, block.attention.eps, block.feed_forward.rate)
        shapes.append(Shape(*sizes, *numbers, *seeds[2 * m : 2 * m + 2], 0))
    return (Shape * config.layers)(*shapes)


def _kept(model: RecGRELA, segments: Tensor, rng: torch.Generator) -> Tensor:
    """Drop path's factors, float32 [M, P]: one draw for each history and layer."""
    histories = int(segments.max()) + 1
    layers = [keep_mask((histories,), block.drop_path, rng, torch.float32) for block in model.each_block()]
    return torch.stack(layers)[:, segments]


def _copied(layer: LayerState) -> LayerState:
    return LayerState(AttentionState(*(part.clone() for part in layer.attention)), layer.tail.clone())
