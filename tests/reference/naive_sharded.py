"""Training with a sharded item table as it is defined: one process, the whole table, row after row, autograd."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from grela.models.recgrela import RecGRELA
from grela.nn.block import BlockForm
from grela.ops.losses.negatives import Negatives
from grela.ops.losses.sampled import sampled_softmax
from grela.training.config import TrainingConfig
from grela.training.loop import mixed_seed
from grela.training.objective import row_loss
from grela.training.optimiser import clip_gradients, learning_rate, optimisers
from grela.training.sequences import Plan

EPS = 1e-8


@dataclass(frozen=True)
class Drawn:
    """`negatives` drawn from a generator of their own."""

    negatives: Negatives
    own: torch.Generator

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        return self.negatives.draw(count, self.own)

    def log_probability(self, items: Tensor) -> Tensor:
        return self.negatives.log_probability(items)


def trained(
    model: RecGRELA, plan: Plan, config: TrainingConfig, negatives: Negatives, form: BlockForm
) -> tuple[dict[str, Tensor], Tensor]:
    """The weights after all epochs, and the sums of the table's row-wise Adagrad [N + 1]."""
    table = model.embedding.weight
    others = [parameter for parameter in model.parameters() if parameter is not table]
    for embedding in (model.embedding, model.item_bias):
        embedding.sparse = True
    of_others = optimisers(model, config)  # the table has no gradient when they step
    sums = torch.zeros(len(table))
    total = sum(plan.steps(epoch) for epoch in range(config.epochs))
    number, carried = 0, {}
    for epoch in range(config.epochs):
        for step in plan.epoch(epoch):
            rate = learning_rate(config, number, total)
            for parameter in (table, *others):
                parameter.grad = None
            carried = one_step(model, step, config, negatives, form, number, carried)
            gradient = table.grad.to_dense()
            table.grad = None
            clip_gradients(others, config.clip_norm)
            for optimiser in of_others:
                for group in optimiser.param_groups:
                    group["lr"] = rate
                optimiser.step()
            with torch.no_grad():
                sums += gradient.square().mean(1)
                table -= rate * gradient / (sums.sqrt() + EPS).unsqueeze(1)
            number += 1
    return model.state_dict(), sums


def one_step(model, step, config, negatives, form, number, carried):
    """Gradients of a step in every parameter's `grad`; returns what histories that go on have left."""
    left_behind = {}
    for place, row in enumerate(step.rows):
        seed = mixed_seed(mixed_seed(config.seed, number), place)
        drawn = Drawn(negatives, torch.Generator().manual_seed(mixed_seed(seed, 2)))
        mean, left = row_loss(
            model,
            row,
            torch.Generator().manual_seed(seed),
            loss=partial(sampled_softmax, negatives=drawn, count=config.negatives),
            dtype=torch.float32,
            form=form,
            state=carried.get(place),
        )
        (mean * row.events / step.events).backward()
        if left is not None:
            left_behind[place] = left
    return left_behind
