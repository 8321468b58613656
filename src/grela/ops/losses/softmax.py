"""Full-catalogue softmax cross-entropy: the definition, and in blocks of positions and of items.

    loss = mean over p of -log( exp(s_p(target(p))) / sum over all items i of exp(s_p(i)) ),  s_p(i) = h_p . w_i

Where the targets have an `item_bias`, s_p(i) is raised by that of i; where they have a `bias`, the softmax is
repeat-aware: s_p(i) is raised by it if p's user has met i.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from grela.ops.losses.changed_logits import ChangedLogits, LeftOut, RaisedItems, RaisedSeen
from grela.ops.losses.targets import RepeatBias, SeenItems, Targets, seen_of
from grela.ops.repeats import naive_bias

# P positions, D width, N items; p and n of them in one block

LOGITS_BYTES = 64_000_000
MOST_POSITIONS = 512
# As large as a CPU's caches like them. On CUDA every block costs the same launches, however large it is.
LARGER_ON_CUDA = 8
LEAST_POSITIONS = 64

LossAndGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From logits [p, N], which it may overwrite, and targets [p] in 0..N-1: the summed loss, its gradient [p, N].

A logit of -inf is no candidate: its probability and its gradient are 0.
"""


class Block(NamedTuple):
    """Size of a block of logits."""

    positions: int
    items: int


def naive_softmax(hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator) -> Tensor:
    """The definition; hidden [P, D], weight [N+1, D] with padding in row 0. Draws nothing from `rng`."""
    logits_PN = hidden @ weight[1:].T
    every_item = torch.arange(1, len(weight), device=hidden.device)
    raised_PN = torch.stack([naive_bias(targets, p, every_item) for p in range(len(hidden))])
    return cross_entropy(logits_PN.to(_wide(logits_PN)) + raised_PN, targets.items - 1)


def softmax(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    block: Block | None = None,
    loss_and_gradient: LossAndGradient | None = None,
) -> Tensor:
    """`naive_softmax` holding one block of logits at a time; gradients are formed on the way forward.

    Products are formed in the dtype of `hidden` (bfloat16 in mixed precision), sums over positions in
    float32. A block is as large as `LOGITS_BYTES` allow where none is given. A block of fewer than N items
    takes two passes, one for the normaliser and one for the gradient; `loss_and_gradient` (by default the
    one of this file) is used for blocks of all items only. Backward may run once, as for any loss.
    """
    seen = None if targets.bias is None else seen_of(targets)
    return full_softmax(hidden, weight, targets, seen, block, loss_and_gradient)


def full_softmax(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    seen: SeenItems | None,
    block: Block | None,
    loss_and_gradient: LossAndGradient | None,
) -> Tensor:
    """`softmax` that raises what was `seen` by the targets' bias; without one it is no candidate, save as a target."""
    block = block or block_of(len(weight) - 1, hidden.element_size(), hidden.device)
    loss: Tensor = _FullSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden,
        weight,
        targets.item_bias,
        *(targets.bias or (None, None)),
        targets.items - 1,
        seen,
        block,
        loss_and_gradient or softmax_loss_and_gradient,
    )
    return loss


def block_of(num_items: int, element_size: int, device: torch.device) -> Block:
    """All items by as many positions as fit; where those are few, fewer items, so that products stay large."""
    times = LARGER_ON_CUDA if device.type == "cuda" else 1
    elements, most = times * LOGITS_BYTES // element_size, times * MOST_POSITIONS
    positions = elements // num_items
    if positions >= LEAST_POSITIONS:
        return Block(min(positions, most), num_items)
    return Block(most, elements // most)


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        item_bias: Tensor | None,
        by_count: Tensor | None,
        by_age: Tensor | None,
        targets: Tensor,
        seen_items: SeenItems | None,
        block: Block,
        loss_and_gradient: LossAndGradient,
    ) -> Tensor:
        bias = grad_bias = None
        if by_count is not None and by_age is not None:
            bias = RepeatBias(by_count, by_age)
            grad_bias = RepeatBias(torch.zeros_like(by_count), torch.zeros_like(by_age))
        num_items = len(weight) - 1
        grad_item = None if item_bias is None else torch.zeros_like(item_bias)
        items = None
        if item_bias is not None and grad_item is not None:
            items = RaisedItems(item_bias[1:, 0], grad_item[1:, 0])
        total = hidden.new_zeros((), dtype=_wide(hidden))
        grad_hidden, grad_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        whole = block.items >= num_items
        weight = weight[1:].to(hidden.dtype) if whole else weight[1:]
        for start in range(0, len(hidden), block.positions):
            part = slice(start, start + block.positions)
            h, t = hidden[part], targets[part]
            changes: list[ChangedLogits] = [] if items is None else [items]
            if seen_items is not None and bias is not None and grad_bias is not None:
                changes.append(RaisedSeen(seen_items, start, len(h), num_items, bias, grad_bias))
            elif seen_items is not None:
                changes.append(LeftOut(seen_items, start, t))
            out = grad_hidden[part], grad_weight[1:]
            if whole:
                total += _all_items(h, weight, t, changes, loss_and_gradient, *out)
            else:
                total += _in_item_blocks(h, weight, t, changes, block.items, *out)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_item, *(grad_bias or (None, None)))
        ctx.positions = len(hidden)
        return total / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0] / ctx.positions
        # In place: at ten million items a second table would not fit. A second backward is refused by autograd.
        by = (None if gradient is None else gradient.mul_(scale) for gradient in ctx.saved_tensors)
        return *by, None, None, None, None


def _all_items(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    changes: Sequence[ChangedLogits],
    loss_and_gradient: LossAndGradient,
    grad_hidden: Tensor,
    grad_weight: Tensor,
) -> Tensor:
    """The summed loss of some positions, and its gradients: by hidden into, by weight on top of the last two."""
    logits_pN = hidden @ weight.T
    for change in changes:
        change.apply(logits_pN, 0)
    loss, grad_logits = loss_and_gradient(logits_pN, targets)
    for change in changes:
        change.collect(grad_logits, 0)
    torch.mm(grad_logits, weight, out=grad_hidden)
    grad_weight += grad_logits.T @ hidden
    return loss


def _in_item_blocks(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    changes: Sequence[ChangedLogits],
    size: int,
    grad_hidden: Tensor,
    grad_weight: Tensor,
) -> Tensor:
    """`_all_items` holding the logits of `size` items at a time."""
    wide = _wide(hidden)
    normaliser = torch.full(targets.shape, -torch.inf, dtype=wide, device=hidden.device)
    target_logit = torch.empty_like(normaliser)
    for low in range(0, len(weight), size):
        logits_pn = _logits(hidden, weight[low : low + size], changes, low)
        here = ((targets >= low) & (targets < low + size)).nonzero().squeeze(1)
        target_logit[here] = logits_pn[here, targets[here] - low].to(wide)
        normaliser = torch.logaddexp(normaliser, logits_pn.to(wide).logsumexp(1))
    grad = torch.zeros_like(grad_hidden, dtype=wide)
    for low in range(0, len(weight), size):
        w = weight[low : low + size].to(hidden.dtype)
        gradient = _logits(hidden, w, changes, low).to(wide).sub_(normaliser[:, None]).exp_().to(hidden.dtype)
        here = ((targets >= low) & (targets < low + size)).nonzero().squeeze(1)
        gradient[here, targets[here] - low] -= 1
        for change in changes:
            change.collect(gradient, low)
        grad += gradient @ w
        grad_weight[low : low + size] += gradient.T @ hidden
    grad_hidden.copy_(grad)
    return (normaliser - target_logit).sum()


def _logits(hidden: Tensor, weight: Tensor, changes: Sequence[ChangedLogits], low: int) -> Tensor:
    logits = hidden @ weight.to(hidden.dtype).T
    for change in changes:
        change.apply(logits, low)
    return logits


def softmax_loss_and_gradient(logits_pN: Tensor, targets_p: Tensor) -> tuple[Tensor, Tensor]:
    """The `LossAndGradient` of the softmax."""
    rows = torch.arange(len(targets_p), device=targets_p.device)
    wide = _wide(logits_pN)
    gradient = torch.softmax(logits_pN, -1)
    probability_p = gradient[rows, targets_p].to(wide)
    losses_p = -probability_p.log()
    faint = (probability_p < torch.finfo(wide).tiny).nonzero().squeeze(-1)
    if len(faint):  # a probability that underflowed has no logarithm; its loss is formed from the logits
        logits = logits_pN[faint].to(wide)
        losses_p[faint] = logits.logsumexp(-1) - logits.gather(1, targets_p[faint, None]).squeeze(1)
    gradient[rows, targets_p] -= 1
    return losses_p.sum(), gradient


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
