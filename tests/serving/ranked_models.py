"""Models with parameters the size of trained ones, and what histories have met."""

import numpy as np
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS
from grela.ops.losses.targets import SeenItems
from grela.ops.repeats import Met, met_before

WIDTH = 12


def drawn_model(num_items: int, *, dtype: torch.dtype = torch.float64, seed: int = 0, **settings) -> RecGRELA:
    """Embeddings of size 1, biases and tables of size 1, maps of unit gain."""
    shape = {"width": WIDTH, "heads": 2, "layers": 1, "after_next": 0.0}
    config = RecGRELAConfig(num_items=num_items, **shape | settings)
    rng = torch.Generator().manual_seed(seed)
    model = RecGRELA(config, rng=rng).to(dtype)
    with torch.no_grad():
        model.embedding.weight.normal_(0, 1, generator=rng)
        if model.item_bias is not None:
            model.item_bias.weight.normal_(0, 1, generator=rng)
        if model.repeats is not None:
            model.repeats.by_count.normal_(0, 2, generator=rng)
            model.repeats.by_age.normal_(0, 2, generator=rng)
        if model.next_gap is not None:
            model.next_gap.when.normal_(0, 1, generator=rng)
            model.next_gap.maps.normal_(0, WIDTH**-0.5, generator=rng)
            model.next_gap.divide(np.ones(BUCKETS, np.int64))
    return model


def drawn_hidden(batch: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """Hidden states [B, D] of size 1."""
    return torch.randn(batch, WIDTH, generator=torch.Generator().manual_seed(50 + seed), dtype=dtype)


def drawn_met(batch: int, num_items: int, *, longest: int = 30, seed: int = 0) -> Met:
    """What histories of 0 to `longest` events with repetitions have met; the first is empty."""
    rng = np.random.default_rng(seed)
    lengths = np.append(0, rng.integers(0, longest + 1, batch - 1))
    end = torch.from_numpy(np.cumsum(lengths))
    history = torch.from_numpy(rng.integers(1, num_items + 1, lengths.sum()))
    seen = SeenItems(history, end - torch.from_numpy(lengths), end)
    return met_before(seen, 0, batch, num_items)
