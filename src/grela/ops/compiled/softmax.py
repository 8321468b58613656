"""The full softmax by the compiled kernels: equal to `grela.ops.losses.softmax` and `without_seen`."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from grela.ops.compiled.functions import addresses, kernel
from grela.ops.losses.softmax import softmax as torch_softmax
from grela.ops.losses.targets import SeenItems, Targets, seen_of
from grela.ops.losses.without_seen import softmax_without_seen as torch_softmax_without_seen

# P positions, D width, N items

# Logits of so many positions are formed together: few enough for the cache, enough for products to be efficient.
TILE = 48
# Where a tile's logits are larger than this the catalogue is walked in blocks, which PyTorch's form does.
MOST_LOGITS = 10_000_000


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
        P, D = hidden.shape
        N = len(weight) - 1
        if P and not 1 <= int(items.min()) <= int(items.max()) <= N:
            raise IndexError(f"targets from {items.min()} to {items.max()}, expected 1 to {N}")
        hidden, weight = hidden.contiguous(), weight.contiguous()
        targets = items - 1
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        met = (None, None, None) if seen is None else (seen.history, seen.start, seen.end)
        bias = [part for part in (by_count, by_age) if part is not None]
        grad_bias = [torch.zeros_like(part) for part in bias]
        grad_item = None if item_bias is None else torch.zeros_like(item_bias)
        of_items = (part if part is None else part[1:] for part in (item_bias, grad_item))
        loss = kernel("softmax_loss", hidden.dtype)(
            hidden.data_ptr(),
            weight[1:].data_ptr(),
            targets.data_ptr(),
            addresses((*met, *(bias or (None, None)), *(grad_bias or (None, None)))),
            addresses(of_items),
            P,
            N,
            D,
            TILE,
            grad_hidden.data_ptr(),
            grad_weight[1:].data_ptr(),
        )
        ctx.save_for_backward(grad_hidden, grad_weight, grad_item, *(grad_bias or (None, None)))
        ctx.positions = P
        return torch.tensor(loss / P, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0] / ctx.positions
        by = (None if gradient is None else gradient.mul_(scale) for gradient in ctx.saved_tensors)
        return *by, None, None
