"""A model whose weights are made up, of the size of trained ones, so that every part shows in what it computes."""

from typing import Any

import numpy as np
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS

TABLES = ("embedding", "positions", "gaps", "item_bias")


def made_up_model(*, seed: int = 0, **settings: Any) -> RecGRELA:
    """The default model but for `settings`: tables of size .3, matrices that keep a unit input at unit size."""
    rng = torch.Generator().manual_seed(seed)
    model = RecGRELA(RecGRELAConfig(**settings), rng=rng)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=rng)
            if "norm.weight" in name:
                drawn = 1 + 0.3 * drawn
            elif any(table in name for table in TABLES) or parameter.dim() == 1:
                drawn = 0.3 * drawn
            else:
                drawn = drawn / parameter[0].numel() ** 0.5
            parameter.copy_(drawn)
    if model.next_gap is not None:
        model.next_gap.divide(np.ones(BUCKETS, np.int64))
    return model
