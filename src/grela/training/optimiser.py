"""AdamW (Loshchilov and Hutter, arXiv 1711.05101) with linear warm-up, then a constant rate or half a cosine."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from grela.errors import CheckpointError
from grela.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int, total_steps: int) -> float:
    """The rate of step 0 .. total_steps - 1: rises linearly to the peak, then follows the schedule.

    The warm-up takes at most a tenth of all steps, so that a short training is not all warm-up.
    """
    warmup = min(config.warmup_steps, total_steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - warmup) / max(1, total_steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def adamw(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over all parameters; only matrices decay, and embeddings, biases and norms do not."""
    decaying: list[nn.Parameter] = []
    other: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decays = name == "weight" and isinstance(module, nn.Linear)
            (decaying if decays else other).append(parameter)
    groups = [
        {"params": decaying, "weight_decay": config.weight_decay},
        {"params": other, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: "<parameter>:<moment>"."""
    return {
        f"{name}:{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state[parameter].items()
    }


@torch.no_grad()
def restore_optimiser(
    model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Put the tensors of `optimiser_tensors` back; raises CheckpointError if they are not this model's."""
    parameters = dict(model.named_parameters())
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(":")
        parameter = parameters.get(name)
        if parameter is None or (value.shape and value.shape != parameter.shape):
            raise CheckpointError(
                f"the checkpoint holds {full_name} {list(value.shape)}, which this model has not"
            )
        # The fused optimiser counts its steps on the parameter's device.
        optimiser.state[parameter][key] = value.to(parameter.device)
