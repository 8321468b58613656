"""The compiled `LossAndGradient` of the full softmax: one pass over a block of logits, in place."""

import torch
from torch import Tensor

from grela.ops.compiled.functions import kernel

# p positions, N items


def softmax_loss_and_gradient(logits_pN: Tensor, targets_p: Tensor) -> tuple[Tensor, Tensor]:
    """As `grela.ops.losses.softmax.softmax_loss_and_gradient`; the logits become their own gradient.

    The softmax is formed in float32 whatever the logits are. Raises IndexError at a target outside 0..N-1.
    """
    positions, items = logits_pN.shape
    if positions and not 0 <= int(targets_p.min()) <= int(targets_p.max()) < items:
        raise IndexError(f"targets from {targets_p.min()} to {targets_p.max()}, expected 0 to {items - 1}")
    logits_pN, targets_p = logits_pN.contiguous(), targets_p.contiguous()
    run = kernel("softmax_grad", logits_pN.dtype)
    loss = run(logits_pN.data_ptr(), targets_p.data_ptr(), positions, items)
    return torch.tensor(loss, dtype=torch.float32), logits_pN
