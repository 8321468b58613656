"""The `LossAndGradient` of the full softmax by a Triton kernel: two passes over a block of logits, in place."""

import torch
from torch import Tensor

from grela.ops.triton import softmax_kernels as kernels
from grela.ops.triton.launch import OPTIONS, check_dtype, on_device_of

# p positions, N items

BLOCK = 1024


def triton_softmax(logits_pN: Tensor, targets_p: Tensor) -> tuple[Tensor, Tensor]:
    """As `grela.ops.losses.softmax.softmax_loss_and_gradient`; the logits become their own gradient.

    The softmax is formed in float32 whatever the logits are. Nothing waits for the device, so a target outside
    0..N-1 cannot be refused here. Raises ConfigError unless the logits are float32 or bfloat16.
    """
    check_dtype(logits=logits_pN)
    positions, items = logits_pN.shape
    logits_pN, targets_p = logits_pN.contiguous(), targets_p.contiguous()
    losses_p = logits_pN.new_empty(positions, dtype=torch.float32)
    with on_device_of(logits_pN):
        kernels.softmax_kernel[(positions,)](logits_pN, targets_p, losses_p, items, BLOCK=BLOCK, **OPTIONS)
    return losses_p.sum(), logits_pN
