"""The full softmax by the compiled kernels: equal to `grela.ops.losses.softmax` and `without_seen`."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from grela.ops.compiled.functions import addresses, kernel
from grela.ops.losses.softmax import softmax as torch_softmax
from grela.ops.losses.targets import SeenItems, Targets, seen_of
from grela.ops.losses.without_seen import softmax_without_seen as torch_softmax_without_seen
from grela.ops.parallel import map_on_cores

# P positions, D width, N items

# Logits of so many positions are formed together: few enough for the cache, enough for products to be efficient.
TILE = 48
# Where a tile's logits are larger than this the catalogue is walked in blocks, which PyTorch's form does.
MOST_LOGITS = 10_000_000
# Of fewer positions a core, or in all, the packing of the table costs more than is won; of a larger table PyTorch's
# products are as fast.
LEAST_POSITIONS = 256
LEAST_THAT_PAY = 1_024
MOST_ITEMS = 16_384


def softmax(hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator) -> Tensor:
    """`grela.ops.losses.softmax.softmax`, with logits in float32 whatever the products are formed in."""
    if not fits(weight):
        return torch_softmax(hidden, weight, targets, rng)
    return _loss(hidden, weight, targets, None if targets.bias is None else seen_of(targets))


def softmax_without_seen(hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator) -> Tensor:
    """`grela.ops.losses.without_seen.softmax_without_seen`, as `softmax`."""
    if not fits(weight):
        return torch_softmax_without_seen(hidden, weight, targets, rng)
    return _loss(hidden, weight, replace(targets, bias=None), seen_of(targets))


def fits(weight: Tensor) -> bool:
    """Whether the kernels compute the full softmax over this item table."""
    return len(weight) * TILE <= MOST_LOGITS and weight.shape[1] % 16 == 0


def pays(hidden: Tensor, weight: Tensor) -> bool:
    """Whether the kernels are faster than PyTorch's form, which uses all cores too; as measured on two."""
    return fits(weight) and len(hidden) >= LEAST_THAT_PAY and len(weight) <= MOST_ITEMS


def _loss(hidden: Tensor, weight: Tensor, targets: Targets, seen: SeenItems | None) -> Tensor:
    loss: Tensor = _CompiledSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets.item_bias, *(targets.bias or (None, None)), targets.items, seen
    )
    return loss


class _CompiledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        item_bias: Tensor | None,
        by_count: Tensor | None,
        by_age: Tensor | None,
        items: Tensor,
        seen: SeenItems | None,
    ) -> Tensor:
        P, N = len(hidden), len(weight) - 1
        if P and not 1 <= int(items.min()) <= int(items.max()) <= N:
            raise IndexError(f"targets from {items.min()} to {items.max()}, expected 1 to {N}")
        hidden, weight, targets = hidden.contiguous(), weight.contiguous(), items - 1
        grad_hidden = torch.empty_like(hidden)
        raised_by = (item_bias, by_count, by_age)

        def of_part(part: slice) -> tuple[float, list[Tensor | None]]:
            """The summed loss of some positions, whose hidden states get their gradient, and the other gradients."""
            met = None if seen is None else SeenItems(seen.history, seen.start[part], seen.end[part])
            others = [None if x is None else torch.zeros_like(x) for x in (weight, *raised_by)]
            loss = _summed_loss(
                hidden[part], weight, targets[part], met, raised_by, grad_hidden[part], others
            )
            return loss, others

        parts = _parts(P, threads=torch.get_num_threads())
        (loss, others), *more = map_on_cores(of_part, parts, threads=len(parts))
        for other_loss, gradients in more:
            loss += other_loss
            for total, gradient in zip(others, gradients, strict=True):
                if total is not None and gradient is not None:
                    total += gradient
        ctx.save_for_backward(grad_hidden, *others)
        ctx.positions = P
        return torch.tensor(loss / P, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0] / ctx.positions
        by = (None if gradient is None else gradient.mul_(scale) for gradient in ctx.saved_tensors)
        return *by, None, None


def _parts(positions: int, *, threads: int) -> list[slice]:
    """Positions in about equal parts, one a thread, but none too small to be worth packing the table for."""
    count = max(1, min(threads, positions // LEAST_POSITIONS))
    bounds = [positions * part // count for part in range(count + 1)]
    return [slice(low, high) for low, high in pairwise(bounds)]


def _summed_loss(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    seen: SeenItems | None,
    raised_by: tuple[Tensor | None, ...],
    grad_hidden: Tensor,
    others: list[Tensor | None],
) -> float:
    """By the kernel; overwrites `grad_hidden` and adds to `others`, the gradients by weight and by `raised_by`."""
    grad_weight, grad_item, *grad_bias = others
    item_bias, *bias = raised_by
    assert grad_weight is not None
    met = (None, None, None) if seen is None else (seen.history, seen.start, seen.end)
    loss: float = kernel("softmax_loss", hidden.dtype)(
        hidden.data_ptr(),
        weight[1:].data_ptr(),
        targets.data_ptr(),
        addresses((*met, *bias, *grad_bias)),
        addresses(None if part is None else part[1:] for part in (item_bias, grad_item)),
        len(hidden),
        len(weight) - 1,
        hidden.shape[1],
        TILE,
        grad_hidden.data_ptr(),
        grad_weight[1:].data_ptr(),
    )
    return loss
