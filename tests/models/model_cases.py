"""A small RecGRELA with parameters the size of trained ones, so that every part shows in the output."""

import numpy as np
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS
from grela.ops.losses.targets import SeenItems

HEADS, PER_HEAD, LAYERS, ITEMS = 3, 4, 2, 50


def trained_size_model(*, dtype: torch.dtype = torch.float64, seed: int = 0, **settings) -> RecGRELA:
    """Embeddings of size 1, matrices that keep a unit input at unit size, biases and norms far from 0 and 1."""
    config = RecGRELAConfig(
        **{"num_items": ITEMS, "width": HEADS * PER_HEAD, "heads": HEADS, "layers": LAYERS} | settings
    )
    rng = torch.Generator().manual_seed(seed)
    model = RecGRELA(config, rng=rng).to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            if "norm.weight" in name:
                drawn = 1 + 0.3 * drawn
            elif parameter.dim() == 1:
                drawn = 0.4 * drawn
            elif not any(table in name for table in ("embedding", "positions", "gaps")):
                drawn = drawn / parameter[0].numel() ** 0.5
            parameter.copy_(drawn)
    if model.next_gap is not None:
        model.next_gap.divide(np.ones(BUCKETS, np.int64))
    return model


def arrays(model: RecGRELA) -> dict[str, np.ndarray]:
    """The parameters as float64 arrays."""
    return {name: p.detach().double().numpy() for name, p in model.named_parameters()}


def draw_items(*shape: int, seed: int = 0, low: int = 1, high: int = ITEMS) -> torch.Tensor:
    """Random item ids, low..high."""
    return torch.randint(low, high + 1, shape, generator=torch.Generator().manual_seed(seed))


def draw_gaps(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random buckets of gaps."""
    return torch.randint(BUCKETS, shape, generator=torch.Generator().manual_seed(1_000 + seed))


def seen_of_each(histories: list[torch.Tensor]) -> SeenItems:
    """Each history's own items as what was seen, one position a history."""
    end = torch.tensor([len(h) for h in histories]).cumsum(0)
    return SeenItems(torch.cat(histories), torch.cat((torch.zeros(1, dtype=torch.int64), end[:-1])), end)


def hidden_parameters(model: RecGRELA) -> list[torch.nn.Parameter]:
    """The parameters that hidden states depend on: all but those of scores alone."""
    return [
        p
        for name, p in model.named_parameters()
        if not name.startswith(("repeats.", "item_bias.", "next_gap.", "after_next."))
    ]


def row(histories: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """items, segments, positions [1, T] of histories packed one after the other."""
    segments = torch.cat([torch.full((len(h),), i) for i, h in enumerate(histories)])
    positions = torch.cat([torch.arange(len(h)) for h in histories])
    return torch.cat(histories).unsqueeze(0), segments.unsqueeze(0), positions.unsqueeze(0)


def causal_hidden(model: RecGRELA, items: torch.Tensor, gaps: torch.Tensor | None = None) -> torch.Tensor:
    """Hidden states [T, D] of one history [T], and its gaps [T]."""
    hidden, _ = model(*row([items]), gaps=None if gaps is None else gaps.unsqueeze(0))
    return hidden[0]
