"""The losses that a configuration can name."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from grela.models.forms import ChosenForm
from grela.ops.losses.binary import binary_cross_entropy
from grela.ops.losses.gbce import gbce
from grela.ops.losses.negatives import ByFrequency, Negatives, Uniform
from grela.ops.losses.sampled import classic_sampled_softmax, sampled_softmax
from grela.ops.losses.scalable import scalable_cross_entropy
from grela.ops.losses.targets import Loss, SeenItems, Targets
from grela.training.config import TrainingConfig
from grela.training.sequences import TrainingSequences

DENSE = ("softmax", "softmax_without_seen")


def touches_few_rows(config: TrainingConfig) -> bool:
    """Whether the loss's gradient by the item table is sparse."""
    return config.loss not in DENSE


def configured_loss(
    config: TrainingConfig,
    sequences: TrainingSequences,
    num_items: int,
    device: torch.device,
    form: ChosenForm,
) -> Loss:
    """The loss that `config` names, for a catalogue and the events that are trained on.

    `form` computes the full softmax.
    """
    if config.loss == "softmax":
        return form.softmax
    if config.loss == "softmax_without_seen":
        return form.softmax_without_seen
    if config.loss == "scalable_cross_entropy":
        return partial(scalable_cross_entropy, bucket_items=config.negatives)
    negatives = configured_negatives(config, sequences, num_items, device)
    if config.loss == "gbce":
        return partial(gbce, negatives=negatives, count=config.negatives, calibration=config.calibration)
    if config.loss == "binary_cross_entropy":
        return partial(binary_cross_entropy, negatives=negatives, count=config.negatives)
    sampled = sampled_softmax if config.loss == "sampled_softmax" else classic_sampled_softmax
    return partial(sampled, negatives=negatives, count=config.negatives)


def with_log_on(device: torch.device, sequences: TrainingSequences, loss: Loss) -> Loss:
    """`loss`, told what was seen by a copy of the log on `device`: rows, made on the host, have it there."""
    history = torch.from_numpy(sequences.items).to(device)

    def told(hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator) -> Tensor:
        if (seen := targets.seen) is not None:
            targets = replace(targets, seen=SeenItems(history, seen.start.to(device), seen.end.to(device)))
        return loss(hidden, weight, targets, rng)

    return told


def configured_negatives(
    config: TrainingConfig, sequences: TrainingSequences, num_items: int, device: torch.device
) -> Negatives:
    """Where the loss that `config` names draws its negatives."""
    if not config.frequency_power:
        return Uniform(num_items)
    return ByFrequency.of(event_counts(sequences, num_items), config.frequency_power, device)


def event_counts(sequences: TrainingSequences, num_items: int) -> np.ndarray:
    """Training events of items 1..N, int64 [N]."""
    counts = np.zeros(num_items + 1, np.int64)
    for at in sequences.trained_on():
        counts += np.bincount(sequences.items[at], minlength=num_items + 1)
    return counts[1:]
