"""A tiny task that can be learnt, and a training of it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS
from grela.ops.losses.targets import Loss
from grela.training import prefixes, streams, windows
from grela.training.config import TrainingConfig
from grela.training.listener import EpochReport, StepReport
from grela.training.loop import Training, selected_by
from grela.training.prefixes import PrefixPlan
from grela.training.ranks import ALONE, Ranks
from grela.training.sequences import Plan, TrainingSequences
from grela.training.sharded import ShardedTraining, without_table
from grela.training.statistics import gap_counts
from grela.training.streams import StreamPlan
from grela.training.windows import WindowPlan

ITEMS = 23
ALL_PARTS = {"gaps": True, "repeats": True, "item_bias": True, "next_gaps": 4, "after_next": 0.3}
PAPER = {"gaps": False, "repeats": False, "item_bias": False, "next_gaps": 0, "after_next": 0.0}


def cyclic_sequences(users: int = 40, *, seed: int = 0) -> TrainingSequences:
    """Each history counts upward from a random item, ITEMS being followed by 1: the next item is certain.

    Gaps are random and say nothing.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 18, users)
    items = [(rng.integers(ITEMS) + np.arange(length)) % ITEMS + 1 for length in lengths]
    end = np.cumsum(lengths)
    gaps = rng.integers(BUCKETS, size=lengths.sum()).astype(np.uint8)
    return TrainingSequences(np.concatenate(items).astype(np.int32), end - lengths, end, gaps)


class Ear:
    """Remembers all that a training tells; `on_step` may break it."""

    def __init__(self, on_step: Callable[[StepReport], None] = lambda report: None) -> None:
        self.steps: list[StepReport] = []
        self.epochs: list[EpochReport] = []
        self.notices: list[str] = []
        self.on_step = on_step

    def step(self, report: StepReport) -> None:
        self.steps.append(report)
        self.on_step(report)

    def epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)

    def notice(self, message: str) -> None:
        self.notices.append(message)


def by_length_of_weights(model: RecGRELA) -> dict[str, float]:
    """A validation that costs nothing and that training changes."""
    return {selected_by(model): model.embedding.weight.norm().item()}


def make_training(
    folder: Path | None,
    *,
    listener: Ear | None = None,
    validate=by_length_of_weights,
    loss_function: Loss | None = None,
    ranks: Ranks = ALONE,
    **settings,
) -> Training:
    """A training of `make_parts`; a checkpoint after every step."""
    config, plan, model = make_parts(**settings)
    kind = ShardedTraining if config.item_table == "sharded" else Training
    return kind(
        model,
        plan,
        config,
        folder=folder,
        validate=validate,
        listener=listener or Ear(),
        ranks=ranks,
        **({} if loss_function is None else {"loss": loss_function}),
    )


def make_parts(
    *,
    precision: str = "fp32",
    form: str = "causal",
    seed: int = 0,
    epochs: int = 3,
    width: int = 16,
    device: torch.device | str = "cpu",
    parts: Mapping[str, int] = ALL_PARTS,
    **settings,
) -> tuple[TrainingConfig, Plan, RecGRELA]:
    """Two layers with dropout and drop path.

    `parts` are the settings of what the model adds to the paper's; its bias is left out for losses that cannot
    teach it.
    """
    config = TrainingConfig(
        **{
            "epochs": epochs,
            "window": 8,
            "batch_positions": 64,
            "learning_rate": 1e-2,
            "precision": precision,
            "checkpoint_seconds": 1e-9,
            "seed": seed,
        }
        | settings
    )
    if config.loss in ("softmax_without_seen", "binary_cross_entropy", "scalable_cross_entropy"):
        parts = {**parts, "repeats": False}
    shape = RecGRELAConfig(
        num_items=ITEMS, form=form, width=width, heads=2, layers=2, dropout=0.1, drop_path=0.1, **parts
    )
    causal = StreamPlan if config.histories == "carried" else WindowPlan
    make_plan = causal if form == "causal" else PrefixPlan
    plan = make_plan(cyclic_sequences(), config.window, config.batch_positions, seed)
    make = without_table if config.item_table == "sharded" else RecGRELA
    model = make(shape, rng=torch.Generator(device).manual_seed(seed))
    if model.next_gap is not None:
        model.next_gap.divide(gap_counts(plan.sequences))
    return config, plan, model


def rows_of_any_size(set_attribute: Callable[[object, str, int], None] = setattr) -> None:
    """Steps of few positions have several rows from here on."""
    for module in (windows, streams, prefixes):
        set_attribute(module, "LEAST_POSITIONS", 8)


def assert_same_weights(found, expected) -> None:
    """Bit for bit."""
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
