"""Training with an item table that no rank holds whole: each step reads the rows it needs, and sends their gradients.

A step is as in `grela.training.loop`: each rank computes rows of it, and all but the item table is updated as there.
The table is a `ShardedTable`, updated by row-wise Adagrad at the same rate; its gradient is not clipped, since the
optimiser divides by its size, and has no part in the norm by which the others are. Negatives are drawn before the
blocks are computed, from a generator of their own, so that one look-up a step is enough. FBGEMM adds what ranks send
in an order of its own, so that numbers of ranks differ by rounding.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from grela.errors import CheckpointError, ConfigError
from grela.models.recgrela import RecGRELA, RecGRELAConfig, State
from grela.nn.init import initialise
from grela.nn.item_bias import ItemBias
from grela.ops.losses.negatives import Negatives
from grela.ops.losses.sampled import sampled_softmax_of_rows
from grela.ops.losses.targets import Targets
from grela.ops.parallel import map_on_cores
from grela.training.checkpoint import Checkpoint
from grela.training.loop import Training, mixed_seed
from grela.training.losses import configured_negatives
from grela.training.objective import row_loss
from grela.training.ranks import Gradient, Ranks, RowResult
from grela.training.sequences import Step
from grela.training.sharded_table import ShardedTable
from grela.training.streams import StreamRow
from grela.training.torchrun import Torchrun
from grela.training.windows import PackedRow

WEIGHT, SUMS = "embedding.weight", "embedding.weight:sum"
TABLE_SEED, DRAWS_SEED = 1, 2


@dataclass(frozen=True, eq=False)
class Prepared:
    """A row of a step with its number, and the negatives [K] of each of its losses in their order."""

    number: int
    row: PackedRow | StreamRow
    draws: list[Tensor]

    @property
    def ids(self) -> Tensor:
        """Every item whose row of the table is needed, int64, with repetitions."""
        return torch.cat([self.row.items[0], self.row.targets, self.row.after.items, *self.draws])


class ShardedTraining(Training):
    """A `Training` whose `model` is one of `without_table`; see there for the arguments, and above for the steps."""

    item_table = "sharded"
    model: RecGRELA
    ranks: Torchrun

    def __init__(self, model: RecGRELA, *arguments: Any, ranks: Ranks, **named: Any) -> None:
        must_be_together(ranks)
        if model.item_bias is not None:
            model.item_bias.sparse = True
        super().__init__(model, *arguments, loss=_no_loss, ranks=ranks, **named)
        seed = mixed_seed(self.config.seed, TABLE_SEED)
        self.table = ShardedTable(model.config.num_items + 1, model.config.width, self.ranks.talk)
        self.table.draw(lambda block: torch.Generator().manual_seed(mixed_seed(seed, block)))
        device = model.norm.weight.device
        self.negatives = configured_negatives(
            self.config, self.plan.sequences, model.config.num_items, device
        )
        others = [
            (p, g)
            for p, g in zip(self.parameters, self.gradients, strict=True)
            if p is not model.embedding.weight
        ]
        self.parameters = [parameter for parameter, _ in others]
        self.gradients: list[Gradient] = [gradient for _, gradient in others]

    def one_step(self, step: Step) -> float:
        """One optimiser step; returns its loss in nats per event."""
        rate = self._set_rate()
        mine = [self._prepared(number, row) for number, row in self.ranks.mine(step.rows)]
        none = torch.zeros(0, dtype=torch.int64)
        ids = torch.cat([none, *(prepared.ids for prepared in mine)]).unique()
        found = self.table.look_up(ids, rate)
        self.model.embedding.weight = nn.Parameter(found.rows)
        work = partial(self._computed, step.events, ids)
        if self.form.name == "compiled":
            results = map_on_cores(work, mine, threads=self.threads)
        else:
            results = [work(prepared) for prepared in mine]
        value, gradients = self.ranks.step(
            [result for result, _, _ in results], self.gradients, len(step.rows)
        )
        self._finite(value)
        by_rows = torch.zeros_like(found.rows)
        for _, gradient, _ in results:
            by_rows += gradient
        found.update(by_rows)
        self._update(gradients)
        self.carried = {
            p.number: left for p, (_, _, left) in zip(mine, results, strict=True) if left is not None
        }
        return value

    def whole(self) -> RecGRELA:
        """The model with its whole table, on the CPU of every rank."""
        self.model.embedding.weight = nn.Parameter(
            torch.zeros(1, self.table.width, device=self.table.weight.device)
        )
        whole = copy.deepcopy(self.model).cpu()
        whole.embedding = nn.Embedding.from_pretrained(self.table.gathered(self.table.weight), freeze=False)
        return whole

    def _prepared(self, number: int, row: object) -> Prepared:
        if not isinstance(row, PackedRow | StreamRow):
            raise TypeError(f"a sharded table is for causal models, and the row is a {type(row).__name__}")
        rng = torch.Generator().manual_seed(mixed_seed(self._row_seed(number), DRAWS_SEED))
        losses = 1 + (self.model.after_next is not None and len(row.after.places) > 0)
        return Prepared(number, row, [self.negatives.draw(self.config.negatives, rng) for _ in range(losses)])

    def _computed(
        self, events: int, ids: Tensor, prepared: Prepared
    ) -> tuple[RowResult, Tensor, State | None]:
        """A row's share of the loss and the other gradients; its gradient [n, D] by the table; the state it leaves."""
        device = self.model.norm.weight.device
        rng = torch.Generator(device)
        rng.manual_seed(self._row_seed(prepared.number))
        loss = _LossOfRows(ids, iter(prepared.draws), self.negatives, self.model.config.num_items)
        row = replace(prepared.row, items=torch.searchsorted(ids, prepared.row.items))
        mean, left = row_loss(
            self.model,
            row,
            rng,
            loss=loss,
            dtype=self.dtype,
            form=self.form.block,
            state=self.carried.get(prepared.number),
        )
        value = mean * (row.events / events)
        *others, by_rows = torch.autograd.grad(value, [*self.parameters, self.model.embedding.weight])
        return RowResult(value.item(), others), by_rows, left

    def _row_seed(self, number: int) -> int:
        return mixed_seed(mixed_seed(self.config.seed, self.progress.step), number)

    def _weights(self) -> dict[str, Tensor]:
        return self.model.state_dict() | {WEIGHT: self.table.weight}

    def _replicated(self) -> dict[str, Tensor]:
        return {name: weight for name, weight in self.model.state_dict().items() if name != WEIGHT}

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        self.table.weight.copy_(weights[WEIGHT])
        own = {WEIGHT: self.model.embedding.weight}
        self.model.load_state_dict({**weights, **own})

    def _tensors(self) -> dict[str, Tensor]:
        tensors = super()._tensors()
        tensors[f"model/{WEIGHT}"] = self.table.gathered(self.table.weight)
        tensors[f"optimiser/{SUMS}"] = self.table.gathered(self.table.sums)
        if WEIGHT in self.best_weights:
            tensors[f"best/{WEIGHT}"] = self.table.gathered(self.best_weights[WEIGHT])
        return tensors

    def _shared(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """The table goes to the ranks that hold its rows, the rest to all."""
        whole: dict[str, Tensor] = {}
        if checkpoint is not None:
            rest = dict(checkpoint.tensors)
            whole = {name: rest.pop(name) for name in self._of_table() if name in rest}
            checkpoint = Checkpoint(rest, checkpoint.progress)
        shapes = self.ranks.from_first({name: list(tensor.shape) for name, tensor in whole.items()})
        checkpoint = self.ranks.shared(checkpoint)
        if checkpoint is None:
            return None
        tensors = dict(checkpoint.tensors)
        for name, shape in shapes.items():
            mine = self.table.sums if name.endswith(SUMS) else self.table.weight
            if shape != [self.table.rows, *mine.shape[1:]]:
                raise CheckpointError(
                    f"the checkpoint in {self.folder} is another model's: {name} is {shape} there and "
                    f"{[self.table.rows, *mine.shape[1:]]} here; resume with the settings it was begun with"
                )
            part = torch.empty_like(mine)
            self.table.scattered(whole.get(name), part)
            tensors[name] = part
        self.table.sums.copy_(tensors.pop(f"optimiser/{SUMS}"))
        return Checkpoint(tensors, checkpoint.progress)

    def _of_table(self) -> tuple[str, ...]:
        return f"model/{WEIGHT}", f"best/{WEIGHT}", f"optimiser/{SUMS}"


class _LossOfRows:
    """A `Loss` by the rows of ids [n], ascending, with draws made before; it is called once for each of them."""

    def __init__(self, ids: Tensor, draws: Any, negatives: Negatives, num_items: int) -> None:
        self.ids, self.draws, self.negatives, self.num_items = ids, draws, negatives, num_items

    def __call__(self, hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator) -> Tensor:
        drawn = next(self.draws).to(hidden.device)
        places = torch.searchsorted(self.ids.to(hidden.device), torch.cat([targets.items, drawn]))
        rows = nn.functional.embedding(places, weight)
        return sampled_softmax_of_rows(
            hidden, rows, targets, drawn, negatives=self.negatives, num_items=self.num_items
        )


def must_be_together(ranks: Ranks) -> None:
    """Raise ConfigError where torchrun has not started this process."""
    if not ranks.together:
        raise ConfigError(
            "item_table is 'sharded', but this process was not started by torchrun: start it so, one rank will do"
        )


def without_table(config: RecGRELAConfig, *, rng: torch.Generator) -> RecGRELA:
    """A model that is not to be used before a `ShardedTraining` brings the rows of its item table."""
    model = RecGRELA(replace(config, num_items=1), rng=rng)
    model.config = config
    if model.item_bias is not None:
        model.item_bias = ItemBias(config.num_items).to(rng.device)
        initialise(model.item_bias, rng)
    return model


def _no_loss(hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator) -> Tensor:
    raise NotImplementedError("a ShardedTraining computes its loss by rows that it has looked up")
