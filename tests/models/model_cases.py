"""A small RecGRELA with parameters the size of trained ones, so that every part shows in the output."""

import numpy as np
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig

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
            elif "embedding" not in name and "positions" not in name:
                drawn = drawn / parameter[0].numel() ** 0.5
            parameter.copy_(drawn)
    return model


def arrays(model: RecGRELA) -> dict[str, np.ndarray]:
    """The parameters as float64 arrays."""
    return {name: p.detach().double().numpy() for name, p in model.named_parameters()}


def draw_items(*shape: int, seed: int = 0, low: int = 1, high: int = ITEMS) -> torch.Tensor:
    """Random item ids, low..high."""
    return torch.randint(low, high + 1, shape, generator=torch.Generator().manual_seed(seed))


def row(histories: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """items, segments, positions [1, T] of histories packed one after the other."""
    segments = torch.cat([torch.full((len(h),), i) for i, h in enumerate(histories)])
    positions = torch.cat([torch.arange(len(h)) for h in histories])
    return torch.cat(histories).unsqueeze(0), segments.unsqueeze(0), positions.unsqueeze(0)


def causal_hidden(model: RecGRELA, items: torch.Tensor) -> torch.Tensor:
    """Hidden states [T, D] of one history [T]."""
    hidden, _ = model(*row([items]))
    return hidden[0]
