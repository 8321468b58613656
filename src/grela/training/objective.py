"""The loss of one step: full softmax over items 1..N at every position (causal) or prefix (bidirectional)."""

import torch
from torch import Tensor

from grela.models.recgrela import RecGRELA
from grela.ops.cross_entropy import softmax_loss
from grela.training.batches import PackedStep, Step

FIRST_ITEM = 1


def step_loss(model: RecGRELA, step: Step, rng: torch.Generator, *, dtype: torch.dtype) -> Tensor:
    """Mean cross-entropy of the step's targets; products in `dtype`, sums in float32."""
    device = model.embedding.weight.device
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        if isinstance(step, PackedStep):
            hidden, _ = model(
                step.items.to(device), step.segments.to(device), step.positions.to(device), rng=rng
            )
            hidden = hidden.squeeze(0)
        else:
            hidden = model.last_hidden(step.items.to(device), step.lengths.to(device), rng)
    return softmax_loss(hidden.to(dtype), model.item_weights, step.targets.to(device) - FIRST_ITEM)
