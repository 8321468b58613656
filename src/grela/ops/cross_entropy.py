"""Full-catalogue softmax cross-entropy: the definition, and in blocks of positions."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# P positions, D width, N items


def naive_softmax_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log softmax(hidden @ weight.T)[target]: hidden [P, D], weight [N, D], targets [P] in 0..N-1."""
    logits_PN = hidden @ weight.T
    return cross_entropy(logits_PN.to(torch.promote_types(logits_PN.dtype, torch.float32)), targets)


def softmax_loss(hidden: Tensor, weight: Tensor, targets: Tensor, *, block: int = 512) -> Tensor:
    """`naive_softmax_loss` holding `block` x N logits at a time; gradients are formed on the way forward.

    Products are formed in the dtype of `hidden` (bfloat16 in mixed precision), sums over positions in
    float32. Backward may run once, as for any loss.
    """
    loss: Tensor = _BlockedSoftmaxLoss.apply(hidden, weight, targets, block)  # type: ignore[no-untyped-call]
    return loss


class _BlockedSoftmaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, block: int) -> Tensor:
        weight_cast = weight.to(hidden.dtype)
        total = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        for start in range(0, len(hidden), block):
            part = slice(start, start + block)
            loss, grad_logits = _loss_and_gradient(hidden[part] @ weight_cast.T, targets[part])
            total += loss
            torch.mm(grad_logits, weight_cast, out=grad_hidden[part])
            grad_weight += grad_logits.T @ hidden[part]
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.positions = len(hidden)
        return total / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0] / ctx.positions
        return (
            grad_hidden * scale.to(grad_hidden.dtype),
            grad_weight * scale.to(grad_weight.dtype),
            None,
            None,
        )


def _loss_and_gradient(logits_PN: Tensor, targets_P: Tensor) -> tuple[Tensor, Tensor]:
    """The summed loss of one block, and its gradient by the logits."""
    rows = torch.arange(len(targets_P), device=targets_P.device)
    wide = torch.promote_types(logits_PN.dtype, torch.float32)
    gradient = torch.softmax(logits_PN, -1)
    probability_P = gradient[rows, targets_P].to(wide)
    losses_P = -probability_P.log()
    faint = (probability_P < torch.finfo(wide).tiny).nonzero().squeeze(-1)
    if len(faint):  # a probability that underflowed has no logarithm; its loss is formed from the logits
        logits = logits_PN[faint].to(wide)
        losses_P[faint] = logits.logsumexp(-1) - logits.gather(1, targets_P[faint, None]).squeeze(1)
    gradient[rows, targets_P] -= 1
    return losses_P.sum(), gradient
