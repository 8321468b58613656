"""The loss of one row: over items 1..N at every position (causal) or prefix (bidirectional)."""

import torch
from torch import Tensor

from grela.models.recgrela import RecGRELA
from grela.ops.cross_entropy import softmax_loss
from grela.training.prefixes import PrefixStep
from grela.training.sequences import Row
from grela.training.windows import PackedRow

FIRST_ITEM = 1


def row_loss(model: RecGRELA, row: Row, rng: torch.Generator, *, dtype: torch.dtype) -> Tensor:
    """Mean cross-entropy of the row's targets; products in `dtype`, sums in float32."""
    device = model.embedding.weight.device
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        hidden, targets = _predicting(model, row, rng, device)
    return softmax_loss(hidden.to(dtype), model.item_weights, targets.to(device) - FIRST_ITEM)


def _predicting(
    model: RecGRELA, row: Row, rng: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The hidden states [P, D] that predict the row's targets [P]."""
    if isinstance(row, PackedRow):
        hidden, _ = model(row.items.to(device), row.segments.to(device), row.positions.to(device), rng=rng)
        return hidden.squeeze(0), row.targets
    if isinstance(row, PrefixStep):
        return model.last_hidden(row.items.to(device), row.lengths.to(device), rng), row.targets
    raise TypeError(f"no loss is defined for a {type(row).__name__}")
