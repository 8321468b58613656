"""A model whose weights are made up, of the size of trained ones, so that every part shows in what it computes."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grela.models.io import load_model
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


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Which model is measured: a run's, or one made up; and where results go."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a run folder, whose model is measured")
    parser.add_argument("--items", type=int, default=3_400, help="catalogue of the made-up model")
    parser.add_argument("--json", type=Path, help="file to write")
    return parser


def measured_model(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> RecGRELA:
    """The model that the arguments name; the parser's error where the run's is another."""
    model = load_model(arguments.run) if arguments.run else made_up_model(num_items=arguments.items)
    if not isinstance(model, RecGRELA):
        parser.error(f"{arguments.run} has no RecGRELA")
    return model
