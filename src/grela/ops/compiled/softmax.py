"""The full softmax by the compiled kernels: equal to `grela.ops.losses.softmax` and `without_seen`."""

from typing import Any

import torch
from torch import Tensor

from grela.ops.compiled.functions import addresses, kernel
from grela.ops.losses.softmax import softmax as torch_softmax
from grela.ops.losses.targets import SeenItems, Targets
from grela.ops.losses.without_seen import seen_of
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
    return _loss(hidden, weight, targets.items, None)


def softmax_without_seen(hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator) -> Tensor:
    """`grela.ops.losses.without_seen.softmax_without_seen`, as `softmax`."""
    if not fits(weight):
        return torch_softmax_without_seen(hidden, weight, targets, rng)
    return _loss(hidden, weight, targets.items, seen_of(targets))


def fits(weight: Tensor) -> bool:
    """Whether the kernels compute the full softmax over this item table."""
    return len(weight) * TILE <= MOST_LOGITS and weight.shape[1] % 16 == 0


def _loss(hidden: Tensor, weight: Tensor, items: Tensor, seen: SeenItems | None) -> Tensor:
    loss: Tensor = _CompiledSoftmax.apply(hidden, weight, items, seen)  # type: ignore[no-untyped-call]
    return loss


class _CompiledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, items: Tensor, seen: SeenItems | None) -> Tensor:
        P, D = hidden.shape
        N = len(weight) - 1
        if P and not 1 <= int(items.min()) <= int(items.max()) <= N:
            raise IndexError(f"targets from {items.min()} to {items.max()}, expected 1 to {N}")
        hidden, weight = hidden.contiguous(), weight.contiguous()
        targets = items - 1
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        left_out = (None, None, None) if seen is None else (seen.history, seen.start, seen.end)
        loss = kernel("softmax_loss", hidden.dtype)(
            hidden.data_ptr(),
            weight[1:].data_ptr(),
            targets.data_ptr(),
            addresses(left_out),
            P,
            N,
            D,
            TILE,
            grad_hidden.data_ptr(),
            grad_weight[1:].data_ptr(),
        )
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.positions = P
        return torch.tensor(loss / P, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0] / ctx.positions
        return grad_hidden.mul_(scale), grad_weight.mul_(scale), None, None
