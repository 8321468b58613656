"""Weights to begin a training with: those of another model, of which some items are known and some are new."""

from dataclasses import dataclass, fields

import numpy as np
import torch

from grela.errors import ConfigError
from grela.models.recgrela import RecGRELA, RecGRELAConfig

# N items of the model that is to be trained

TABLES = ("embedding.weight", "item_bias.weight")
MAY_DIFFER = ("num_items", "added_items", "dropout", "drop_path")


@dataclass(frozen=True, eq=False)
class Start:
    """`model` is where to begin, `items` int64 [N] its dense item for each of the N, 0 where it has none."""

    model: RecGRELA
    items: np.ndarray


@torch.no_grad()
def take_over(model: RecGRELA, start: Start) -> None:
    """Give `model` the start's weights; items that the start does not know keep their own."""
    must_be_alike(model.config, start.model.config)
    known = torch.from_numpy(np.flatnonzero(start.items) + 1)
    from_rows = torch.from_numpy(start.items[start.items > 0])
    own = model.state_dict()
    for name, weight in start.model.state_dict().items():
        if name in TABLES:
            own[name][known] = weight[from_rows].to(own[name])
            own[name][0] = weight[0]
        else:
            own[name].copy_(weight)


def must_be_alike(config: RecGRELAConfig, of_start: RecGRELAConfig) -> None:
    """ConfigError, naming the settings, where a model's weights mean nothing to one of the other settings.

    What is dropped in training may differ, and what the item after the next weighs, as long as it weighs something.
    """
    found = []
    for name in (f.name for f in fields(config) if f.name not in MAY_DIFFER):
        here, there = getattr(config, name), getattr(of_start, name)
        if name == "after_next":
            here, there = bool(here), bool(there)
        if here != there:
            found.append(f"model.{name} is {getattr(config, name)!r}, but {getattr(of_start, name)!r} there")
    if found:
        raise ConfigError(
            f"the run to start from has a model of another shape: {'; '.join(found)}. Leave these settings to it, or "
            "train anew"
        )
