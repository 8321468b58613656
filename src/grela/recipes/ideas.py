"""The defaults but for one change each: what every part of them is worth, and what was tried beside them.

docs/ideas.md says what each idea did on three sets. The ablations take the paper's own parts away.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from grela.configuration import Config
from grela.models.recgrela import RecGRELAConfig

IDEAS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"epochs": 12, "dropout": 0.1},
    "long": {"epochs": 60, "dropout": 0.25},
    "ids-only": {"gaps": False, "next_gaps": 0},
    "without-after-next": {"after_next": 0.0},
    "without-gaps": {"gaps": False},
    "without-next-gaps": {"next_gaps": 0},
    "without-repeats": {"repeats": False},
    "without-item-bias": {"item_bias": False},
    "seen-left-out": {"repeats": False, "loss": "softmax_without_seen"},
    "long-windows": {"window": 1_000, "batch_positions": 4_000},
    "carried-histories": {"histories": "carried"},
    "decaying-state": {"decay": True},
    "one-head": {"heads": 1},
    "eight-taps": {"taps": 8},
    "twice-as-wide": {"width": 128},
    "small-steps": {"batch_positions": 1_600},
    "eight-next-gaps": {"next_gaps": 8},
}


ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "without-rotation": {"rotation": False},
    "without-local-branch": {"local_branch": False},
    "without-gate": {"gate": False},
    "learned-positions": {"rotation": False, "learned_positions": 200},
    "rotation-per-head": {"rotation_per_head": True},
    "bidirectional": {"form": "bidirectional", "window": 50, "batch_positions": 6_400, "learning_rate": 1e-3},
    **{f"{layers}-layers": {"layers": layers} for layers in (1, 2, 3, 6, 8)},
    **{f"window-{window}": {"window": window} for window in (50, 100, 500)},
    **{f"window-{window}": {"window": window, "batch_positions": 2 * window} for window in (1_000, 2_000)},
}


def changed(changes: Mapping[str, Any]) -> Config:
    """The default configuration with other values of some settings of the model or the training."""
    of_model = {f.name for f in fields(RecGRELAConfig)}
    config = Config()
    model = {name: value for name, value in changes.items() if name in of_model}
    training = {name: value for name, value in changes.items() if name not in of_model}
    return replace(
        config, model=replace(config.model, **model), training=replace(config.training, **training)
    )
