"""Models whose every part shows in a state and in its scores, histories for them, and the steppers there are."""

import numpy as np
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS, NO_TIME

ITEMS = 90


def state_model(*, seed: int = 0, **settings) -> RecGRELA:
    """Two layers of two heads of 16: embeddings of size 1, matrices that keep a unit input at unit size."""
    config = RecGRELAConfig(**{"num_items": ITEMS, "width": 32, "heads": 2, "layers": 2} | settings)
    rng = torch.Generator().manual_seed(seed)
    model = RecGRELA(config, rng=rng)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=rng)
            if "norm.weight" in name:
                drawn = 1 + 0.3 * drawn
            elif "log_time" in name:
                drawn = 2 + drawn
            elif parameter.dim() == 1:
                drawn = 0.4 * drawn
            elif not any(table in name for table in ("embedding", "positions", "gaps", "item_bias")):
                drawn = drawn / parameter[0].numel() ** 0.5
            parameter.copy_(drawn)
        if model.repeats is not None:
            model.repeats.by_count.mul_(3)
            model.repeats.by_age.mul_(3)
    if model.next_gap is not None:
        model.next_gap.divide(np.ones(BUCKETS, np.int64))
    return model


def history(length: int, *, seed: int = 0, items: int = ITEMS) -> tuple[np.ndarray, np.ndarray]:
    """Items, some often, some hardly ever; times: some events at once, some years apart, some at no known time."""
    rng = np.random.default_rng(seed)
    drawn = (items * rng.random(length) ** 3).astype(np.int32) + 1
    times = np.cumsum((2.0 ** rng.integers(-1, 30, length)).astype(np.int64))
    times[rng.random(length) < 0.1] = NO_TIME
    return drawn, times
