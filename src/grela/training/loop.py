"""The training loop: steps, validation, early stopping, checkpoints. Resumed, it ends with the same bits.

Everything random is drawn from (seed, epoch) or (seed, step), never from a generator that remembers, so a
checkpoint needs no generator's state and a resumed run repeats exactly what an unbroken one does.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grela.errors import CheckpointError, ConfigError, TrainingError
from grela.models.compiled_row import FlatGradients, computes_rows
from grela.models.forms import choose_form
from grela.models.recgrela import RecGRELA, State
from grela.models.sequential import SequentialModel
from grela.ops.compiled.softmax import fits
from grela.ops.losses.targets import Loss
from grela.ops.memory import keep_freed_memory
from grela.ops.parallel import map_on_cores, one_core
from grela.training.carried import carried_tensors, restored_states
from grela.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from grela.training.config import TrainingConfig
from grela.training.graphs import CapturedSteps, captured_steps
from grela.training.listener import EpochReport, Listener, StepReport
from grela.training.losses import DENSE, configured_loss, touches_few_rows, with_log_on
from grela.training.objective import compiled_row, row_loss, windows_loss
from grela.training.optimiser import (
    clip_gradients,
    give_gradients,
    learning_rate,
    optimiser_tensors,
    optimisers,
    restore_optimisers,
)
from grela.training.precision import product_dtype
from grela.training.prefixes import PackedPrefixes, PrefixRow
from grela.training.ranks import ALONE, Gradient, Ranks, RowResult, checksum
from grela.training.resident import ResidentStep
from grela.training.rows_of_windows import windows_of
from grela.training.sequences import Plan, Row, Step, TrainingSequences
from grela.training.streams import StreamRow
from grela.training.windows import PackedRow, PackedStep

METRICS = "metrics.jsonl"
ONE_CORE_UPDATES = 4_000_000

Model = RecGRELA | SequentialModel
Validate = Callable[[Any], Mapping[str, float]]


@dataclass
class Progress:
    """Where training stands; everything in it goes into the checkpoint as JSON."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    events: int = 0
    seconds: float = 0.0
    best_epoch: int = -1
    best: float = float("-inf")
    finished: bool = False
    epochs: list[dict[str, Any]] = field(default_factory=list)


class Training:
    """One training of `model` by `plan`, resumed from `folder` where a checkpoint lies there.

    `validate` measures the model after each epoch and must return what `selected_by` names; the weights
    of the best epoch are what `run` leaves in the model. Without a `validate` the last epoch is the best.

    `loss` takes the place of the one that `config` names. If its gradient by the item table is sparse, set
    `model.embedding.sparse`, so that the table's optimiser touches few rows too.

    `ranks` train together where there are several: each is given the same model, plan and settings, computes its rows
    of every step, and takes the whole step. `validate` must return the same on all; rank 0 alone writes.
    """

    item_table = "replicated"

    def __init__(
        self,
        model: Model,
        plan: Plan,
        config: TrainingConfig,
        *,
        folder: Path | None,
        validate: Validate | None,
        listener: Listener,
        loss: Loss | None = None,
        ranks: Ranks = ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.plan, self.config = model, plan, config
        self.folder, self.validate, self.listener, self.clock = folder, validate, listener, clock
        self.ranks = ranks
        if config.item_table != self.item_table:
            raise ConfigError(
                f"item_table is {config.item_table!r}, which a {type(self).__name__} cannot train"
            )
        device = model.embedding.weight.device
        if device.type == "cpu":
            keep_freed_memory()
        self.form = choose_form(model, config.kernels)
        own_loss = loss is not None
        if loss is None:
            for table in (model.embedding, model.item_bias):
                if table is not None:
                    table.sparse = touches_few_rows(config)
            num_items = model.embedding.num_embeddings - 1
            loss = configured_loss(config, plan.sequences, num_items, device, self.form)
            if device.type != "cpu":
                loss = with_log_on(device, plan.sequences, loss)
        self.loss = loss
        self.optimisers = optimisers(model, config)
        self.dtype = product_dtype(config.precision, device)
        self.captured: CapturedSteps | None = None
        if not own_loss and isinstance(model, RecGRELA) and not ranks.together:
            self.captured = captured_steps(
                model, plan, config, self.optimisers, form=self.form, loss=loss, dtype=self.dtype
            )
        if self.captured is not None:
            self.plan = self.captured.windows
        self.parameters = list(model.parameters())
        self.small = sum(parameter.numel() for parameter in self.parameters) <= ONE_CORE_UPDATES
        by_rows = self.form.name == "compiled" and not own_loss and config.loss in DENSE
        whole_rows = by_rows and isinstance(model, RecGRELA) and computes_rows(model)
        self.flat = FlatGradients(self.parameters) if whole_rows else None
        self.gradients = _gradients(model, self.flat)
        self.threads = torch.get_num_threads()
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] = {}
        self.carried: dict[int, State] = {}
        self.total_steps = sum(plan.steps(epoch) for epoch in range(config.epochs))
        self._saved_at = clock()
        if ranks.together:
            ranks.must_agree(self._facts())

    def run(self) -> Progress:
        """Train to the end or to early stopping; returns the record of all epochs."""
        self._resume()
        if self.form.why_not_compiled:
            self.listener.notice(f"without compiled kernels, which are faster: {self.form.why_not_compiled}")
        while not self.progress.finished:
            self._train_epoch()
            self._end_epoch()
            self._save()
        if self.best_weights:
            self._load(self.best_weights)
        return self.progress

    def whole(self) -> Model:
        """The model as it stands, with all its weights: every rank has to call this, or none."""
        return self.model

    def _train_epoch(self) -> None:
        p, steps = self.progress, self.plan.steps(self.progress.epoch)
        for step in self.plan.epoch(p.epoch, skip=p.step_in_epoch):
            before = self.clock()
            loss = self.one_step(step)
            p.seconds += self.clock() - before
            p.step, p.step_in_epoch, p.events = p.step + 1, p.step_in_epoch + 1, p.events + step.events
            p.loss_sum += loss * step.events
            rate = p.events / max(p.seconds, 1e-9)
            left = (self.total_steps - p.step) * p.seconds / p.step_in_epoch
            self.listener.step(
                StepReport(p.epoch + 1, self.config.epochs, p.step_in_epoch, steps, loss, rate, left)
            )
            if self.ranks.agreed(self.clock() - self._saved_at > self.config.checkpoint_seconds):
                self._save()

    def one_step(self, step: Step) -> float:
        """One optimiser step; returns its loss in nats per event."""
        rate = self._set_rate()
        if self.captured is not None and isinstance(step, ResidentStep) and step.full:
            seed = mixed_seed(self.config.seed, self.progress.step)
            return self._finite(self.captured.take(step, rate=rate, seed=seed))
        rows = self._rows(step)
        value, gradients = self.ranks.step(
            [RowResult(loss, gradients) for _, loss, gradients, _ in rows], self.gradients, len(step.rows)
        )
        self._finite(value)
        self._update(gradients)
        self.carried = {number: left for number, _, _, left in rows if left is not None}
        return value

    def _set_rate(self) -> float:
        """The step's learning rate, which all optimisers have from here on."""
        rate = learning_rate(self.config, self.progress.step, self.total_steps)
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            group["lr"] = rate
        return rate

    def _rows(self, step: Step) -> list[tuple[int, float, Sequence[Tensor], State | None]]:
        """`_row` of each row of this rank: side by side by kernels, which let go of the interpreter while they compute.

        By PyTorch's operators rows side by side are no faster than one row computed by all cores, and take more memory.
        Nor are rows with a gradient by every item of a huge table, of which there is then one.
        """
        table = self.model.embedding
        if self.form.name == "compiled" and (table.sparse or fits(table.weight)):
            work = partial(self._row, step.events)
            return map_on_cores(work, self.ranks.mine(step.rows), threads=self.threads)
        rows = step.rows
        if not self.ranks.together:
            rows = rows_alone(step, self.plan.sequences, table.weight.device)
        return [self._row(step.events, numbered) for numbered in self.ranks.mine(rows)]

    def _update(self, gradients: list[Tensor]) -> None:
        """Change the weights by gradients in the order of the parameters, or by one vector of them all."""
        if self.flat is not None:
            gradients = self.flat.parts(gradients[0])
        give_gradients(self.parameters, gradients)
        # Waking other threads for each of many small tensors takes longer than the work does.
        with one_core() if self.small else nullcontext():
            clip_gradients(self.parameters, self.config.clip_norm)
            for optimiser in self.optimisers:
                optimiser.step()

    def _finite(self, loss: float) -> float:
        if math.isfinite(loss):
            return loss
        raise TrainingError(
            f"the loss is {loss} at step {self.progress.step + 1}: training has diverged. Lower learning_rate "
            f"({self.config.learning_rate}) or clip_norm ({self.config.clip_norm}) and start in a new folder"
        )

    def _row(
        self, events: int, numbered: tuple[int, Row]
    ) -> tuple[int, float, Sequence[Tensor], State | None]:
        """A row's number, its part of a step's loss, its gradients as `_update` takes them, and the state it leaves."""
        (number, row), config = numbered, self.config
        share = row.events / events
        rng = torch.Generator(self.model.embedding.weight.device)
        rng.manual_seed(mixed_seed(mixed_seed(config.seed, self.progress.step), number))
        if isinstance(self.model, SequentialModel):
            windows = windows_of(row, self.plan.sequences, with_times=self.model.reads_times)
            loss = share * windows_loss(self.model, windows, rng, loss=self.loss, dtype=self.dtype)
            return number, loss.item(), torch.autograd.grad(loss, self.parameters), None
        if self.flat is not None and isinstance(row, PackedRow | StreamRow):
            value, vector, left = compiled_row(
                self.model,
                row,
                rng,
                without_seen=config.loss == "softmax_without_seen",
                dtype=self.dtype,
                share=share,
                state=self.carried.get(number),
            )
            return number, value, [vector], left
        mean, left = row_loss(
            self.model,
            row,
            rng,
            loss=self.loss,
            dtype=self.dtype,
            form=self.form.block,
            packed=self.form.packed,
            state=self.carried.get(number),
        )
        loss = mean * share
        return number, loss.item(), torch.autograd.grad(loss, self.parameters), left

    def _end_epoch(self) -> None:
        p = self.progress
        if self.ranks.together:
            self.ranks.must_agree({"the weights' checksum": checksum(self._replicated())})
        metrics = self.ranks.from_first(dict(self.validate(self.whole())) if self.validate else {})
        value = self._selecting(metrics)
        if value > p.best:
            p.best, p.best_epoch = value, p.epoch
            self._keep_weights()
        report = EpochReport(
            epoch=p.epoch + 1,
            loss=p.loss_sum / max(1, p.events),
            metrics=metrics,
            seconds=p.seconds,
            events_per_second=p.events / max(p.seconds, 1e-9),
            best_epoch=p.best_epoch + 1,
        )
        p.epochs.append(asdict(report))
        p.epoch += 1
        p.step_in_epoch, p.loss_sum, p.events, p.seconds = 0, 0.0, 0, 0.0
        waited = self.config.patience and p.epoch - 1 - p.best_epoch >= self.config.patience
        p.finished = bool(waited) or p.epoch >= self.config.epochs
        self.listener.epoch(report)

    def _keep_weights(self) -> None:
        """Copy the weights over the best before them: at ten million items a third table would be 2.6 GB more."""
        for name, weight in self._weights().items():
            if name in self.best_weights:
                self.best_weights[name].copy_(weight)
            else:
                self.best_weights[name] = weight.detach().clone()

    def _selecting(self, metrics: Mapping[str, float]) -> float:
        """What the best epoch has most of: the validation's `selected_by`, or the epoch without a validation."""
        if self.validate is None:
            return float(self.progress.epoch)
        name = selected_by(self.model)
        if name not in metrics:
            raise ConfigError(f"validate returned {sorted(metrics)}, expected {name!r} among them")
        return metrics[name]

    def _save(self) -> None:
        if self.folder is None:
            return
        tensors = self._tensors()
        if not self.ranks.first:
            return
        write_checkpoint(Checkpoint(tensors, asdict(self.progress)), self.folder)
        write_metrics(self.progress.epochs, self.folder)
        self._saved_at = self.clock()

    def _weights(self) -> dict[str, Tensor]:
        """All weights that this rank holds, by name."""
        return self.model.state_dict()

    def _replicated(self) -> dict[str, Tensor]:
        """Those that every rank holds."""
        return self._weights()

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `_weights` gave."""
        self.model.load_state_dict(weights)

    def _tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds, on rank 0; every rank has to call this."""
        carried = self.ranks.all_tensors(carried_tensors(self.carried))
        tensors = {f"model/{k}": v for k, v in self._weights().items()}
        tensors |= {f"optimiser/{k}": v for k, v in optimiser_tensors(self.model, self.optimisers).items()}
        tensors |= {f"best/{k}": v for k, v in self.best_weights.items()}
        return tensors | {f"carried/{k}": v for k, v in carried.items()}

    def _shared(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """Rank 0's checkpoint, as this rank needs it."""
        return self.ranks.shared(checkpoint)

    def _resume(self) -> None:
        if self.folder is None:
            return
        checkpoint, notices = read_checkpoint(self.folder) if self.ranks.first else (None, [])
        checkpoint = self._shared(checkpoint)
        for notice in notices:
            self.listener.notice(notice)
        if checkpoint is None:
            return
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimiser": {}, "best": {}, "carried": {}}
        for name, tensor in checkpoint.tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        self._refuse_another_models(parts["model"])
        self._load(parts["model"])
        restore_optimisers(self.model, self.optimisers, parts["optimiser"])
        self.best_weights = parts["best"]
        if isinstance(self.model, RecGRELA):
            self.carried = restored_states(parts["carried"], like=self.model.empty_state(1))
        self.progress = p = Progress(**checkpoint.progress)
        if not p.finished:
            self.listener.notice(f"resumed after step {p.step_in_epoch} of epoch {p.epoch + 1}")

    def _facts(self) -> dict[str, Any]:
        """What has to be the same on all ranks, so that they take the same steps and end with the same bits."""
        settings = {f"training.{name}": value for name, value in asdict(self.config).items()}
        return settings | {
            "what computes the blocks": self.form.name,
            "the precision of products": str(self.dtype),
            "the kind of device": self.model.embedding.weight.device.type,
            "the processor": torch.backends.cpu.get_cpu_capability(),
            "the number of threads": self.threads,
            "torch's version": torch.__version__,
            "the number of steps": self.total_steps,
            "the first weights' checksum": checksum(self._replicated()),
        }

    def _refuse_another_models(self, weights: Mapping[str, Tensor]) -> None:
        here = {name: list(w.shape) for name, w in self._weights().items()}
        there = {name: list(w.shape) for name, w in weights.items()}
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                raise CheckpointError(
                    f"the checkpoint in {self.folder} is another model's: {name} is {there.get(name)} there and "
                    f"{here.get(name)} here; resume with the settings it was begun with, or take another folder"
                )


def rows_alone(step: Step, sequences: TrainingSequences, device: torch.device) -> Sequence[Row]:
    """A step's rows where no other rank shares them: joined to one, but for prefixes on a CPU.

    A device waits for launches, one set of them a row. On a CPU prefixes joined are a fifth faster at most, and take
    the memory of all rows at once.
    """
    if isinstance(step, PackedStep):
        return [PackedRow.joined(step.rows)]
    if isinstance(step, PackedPrefixes) and device.type != "cpu":
        return [PrefixRow.joined(step.rows, sequences)]
    return step.rows


def selected_by(model: Model) -> str:
    """The metric that selects the epoch: seen items are filtered out unless the model scores them by itself."""
    knows_repeats = isinstance(model, RecGRELA) and model.repeats is not None
    return "unfiltered/ndcg@10" if knows_repeats else "filtered/ndcg@10"


def write_metrics(epochs: list[dict[str, Any]], folder: Path) -> None:
    """One JSON line an epoch, as far as the checkpoint reaches."""
    lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
    fresh = folder / (METRICS + ".part")
    try:
        fresh.write_text(lines, encoding="utf-8")
        fresh.replace(folder / METRICS)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {folder / METRICS}: {error.strerror or error}. Make room and run the same command "
            "again, it goes on from the last checkpoint"
        ) from error


def mixed_seed(seed: int, step: int) -> int:
    """One 63-bit seed from two numbers, by SplitMix64's finaliser: neighbouring steps share no bits to speak of."""
    z = (seed * 0x9E3779B97F4A7C15 + step + 0x632BE59BD9B4E019) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return (z ^ (z >> 31)) >> 1


def _gradients(model: Model, flat: FlatGradients | None) -> list[Gradient]:
    """What a row's gradients look like: one vector of them all, or each parameter's."""
    if flat is not None:
        return [Gradient(torch.Size([sum(flat.sizes)]), sparse=False)]
    tables = [table.weight for table in model.modules() if isinstance(table, nn.Embedding) and table.sparse]
    return [Gradient(p.shape, any(p is table for table in tables)) for p in model.parameters()]
