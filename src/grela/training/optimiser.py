"""AdamW (Loshchilov and Hutter, arXiv 1711.05101) with linear warm-up, then a constant rate or half a cosine."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from grela.errors import CheckpointError
from grela.training.config import TrainingConfig
from grela.training.row_wise import RowWiseAdam

ROW_AVERAGE = 0.999


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


def optimisers(model: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """AdamW over all parameters, save embeddings with sparse gradients, which get a `RowWiseAdam`.

    Only matrices decay; embeddings, biases and norms do not.
    """
    decaying: list[nn.Parameter] = []
    other: list[nn.Parameter] = []
    tables: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.Embedding) and module.sparse:
                tables.append(parameter)
            elif name == "weight" and isinstance(module, nn.Linear):
                decaying.append(parameter)
            else:
                other.append(parameter)
    groups = [
        {"params": decaying, "weight_decay": config.weight_decay},
        {"params": other, "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
    ]
    if tables:
        found.append(RowWiseAdam(tables, lr=config.learning_rate, average=ROW_AVERAGE))
    return found


@torch.no_grad()
def give_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> None:
    """Let each parameter have its gradient, laid out in memory as it is itself.

    Autograd may give a transposed one. The fused optimiser takes both as they lie in memory: on CUDA it refuses
    layouts that differ, and on a CPU it would change each number by another one's gradient.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        alike = gradient.is_sparse or gradient.stride() == parameter.stride()
        parameter.grad = gradient if alike else torch.empty_like(parameter).copy_(gradient)


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], norm: float) -> None:
    """Scale all gradients so that their common norm is at most `norm`; sparse ones count as what they sum to."""
    values = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.is_sparse:
            parameter.grad = gradient = gradient.coalesce()
            gradient = gradient.values()
        if gradient is not None:
            values.append(gradient)
    total = nn.utils.get_total_norm(values)
    scale = (norm / (total + 1e-6)).clamp(max=1.0)
    for gradient in values:
        gradient.mul_(scale)


def optimiser_tensors(model: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The optimisers' state as named tensors: "<parameter>:<moment>"."""
    return {
        f"{name}:{key}": value
        for name, parameter in model.named_parameters()
        for optimiser in optimisers
        if parameter in optimiser.state
        for key, value in optimiser.state[parameter].items()
    }


@torch.no_grad()
def restore_optimisers(
    model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    """Put the tensors of `optimiser_tensors` back; raises CheckpointError if they are not this model's."""
    states = {
        name: (optimiser, p)
        for name, p in model.named_parameters()
        for optimiser in optimisers
        if _owns(optimiser, p)
    }
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(":")
        optimiser, parameter = states.get(name, (None, None))
        if optimiser is None or parameter is None or value.shape != _shapes(optimiser, parameter).get(key):
            raise CheckpointError(
                f"the checkpoint holds {full_name} {list(value.shape)}, which this model has not"
            )
        # The fused optimiser counts its steps on the parameter's device.
        optimiser.state[parameter][key] = value.to(parameter.device)


def _owns(optimiser: torch.optim.Optimizer, parameter: nn.Parameter) -> bool:
    return any(parameter is p for group in optimiser.param_groups for p in group["params"])


def _shapes(optimiser: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, torch.Size]:
    """The shapes of what an optimiser keeps of a parameter."""
    if isinstance(optimiser, RowWiseAdam):
        return {"square": parameter.shape[:1]}
    return {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
