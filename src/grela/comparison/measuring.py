"""One model with one seed: trained within the budget, measured on the test events, once."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grela.comparison.budget import Budget
from grela.comparison.contestants import Contestant, Floor, Ours, Rival
from grela.data.histories import HistoryBatch
from grela.data.splitting import Split, train_item_counts
from grela.evaluation.evaluate import evaluate, validate
from grela.evaluation.evaluation import Evaluation
from grela.evaluation.scorer import Scorer
from grela.fitting import sized, training_plan, untrained
from grela.models.forms import choose_form
from grela.models.sequential import SequentialModel
from grela.run_folder import environment, write_json
from grela.serving.scorer import ModelScorer, WindowScorer
from grela.training.config import TrainingConfig
from grela.training.listener import Listener, Silence
from grela.training.loop import Model, Training, selected_by
from grela.training.prefixes import PrefixPlan
from grela.training.sequences import Plan, Step, TrainingSequences
from grela.training.windows import WindowPlan

# B histories

LATENCY_USERS = 50
EPOCHS = "epochs.json"


@dataclass(frozen=True, eq=False)
class Trainable:
    """A contestant on one split: what makes its model anew, its steps and settings, and what scores by it."""

    make: Callable[[], Model]
    plan: Plan
    training: TrainingConfig
    scorer_of: Callable[[Any], Scorer]
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """`record` is what JSON shows of a run; `evaluation` holds what every user got."""

    record: dict[str, Any]
    evaluation: Evaluation


def measured(
    contestant: Contestant,
    split: Split,
    budget: Budget,
    device: torch.device,
    *,
    seed: int,
    folder: Path,
    listener: Listener,
) -> Measured:
    """Train and measure on `device`; goes on from checkpoints in `folder` where there are any."""
    before = time.perf_counter()
    if isinstance(contestant, Floor):
        scorer = contestant.fit(split)
        trained: dict[str, Any] = {
            "training_seconds": time.perf_counter() - before,
            "epochs": [],
            "settings": {},
        }
        trained["valid"] = validate(scorer, split.cases("valid"))["filtered/ndcg@10"]
    else:
        scorer, trained = _trained(
            trainable(contestant, split, seed, device), budget, split, folder, listener
        )
    found = evaluate(scorer, split.cases("test"), train_counts=train_item_counts(split))
    record = {
        "source": contestant.source,
        **found.to_json(),
        **trained,
        "latency_ms": latency(scorer, split),
        "peak_bytes": resident_peak() if isinstance(contestant, Floor) else peak_bytes(device),
        "environment": environment(device),
    }
    return Measured(record, found)


def tried(
    contestant: Ours | Rival,
    split: Split,
    budget: Budget,
    device: torch.device,
    *,
    seed: int,
    folder: Path,
    listener: Listener,
) -> dict[str, Any]:
    """Train and validate; the test events are not looked at."""
    return _trained(trainable(contestant, split, seed, device), budget, split, folder, listener)[1]


def trainable(contestant: Ours | Rival, split: Split, seed: int, device: torch.device) -> Trainable:
    """A contestant on a split, with one seed; its model is drawn on the host, and so the same on every device."""
    if isinstance(contestant, Ours):
        return _ours(contestant, split, seed, device)
    histories = split.histories
    start = histories.offsets[:-1]
    sequences = TrainingSequences(
        histories.items, start, start + split.train_end, times=np.asarray(histories.times)
    )

    def make() -> SequentialModel:
        return contestant.built(histories.num_items, torch.Generator().manual_seed(seed)).to(device)

    form = "causal" if make().reads == "windows" else "bidirectional"
    training = replace(contestant.training, seed=seed).sized_for(int(split.train_end.sum()), form=form)
    plan_of = WindowPlan if form == "causal" else PrefixPlan
    return Trainable(
        make,
        plan_of(sequences, training.window, training.batch_positions, seed),
        training,
        lambda model: WindowScorer(model, window=training.window),
        {"model": asdict(contestant.shape), "training": asdict(training)},
    )


def _ours(ours: Ours, split: Split, seed: int, device: torch.device) -> Trainable:
    config = replace(ours.config, training=replace(ours.config.training, seed=seed))
    config = sized(config, split)
    plan, training = training_plan(split, config), config.training

    def scorer_of(model: Any) -> Scorer:
        return ModelScorer(model, window=training.window, form=choose_form(model, training.kernels))

    return Trainable(
        lambda: untrained(config, plan.sequences, split.histories.num_items).to(device),
        plan,
        training,
        scorer_of,
        config.to_json(),
    )


def _trained(
    task: Trainable, budget: Budget, split: Split, folder: Path, listener: Listener
) -> tuple[Scorer, dict[str, Any]]:
    training = replace(task.training, epochs=_epochs(task, budget, folder))
    cases = split.cases("valid")
    run = Training(
        model := task.make(),
        task.plan,
        training,
        folder=folder,
        validate=lambda model: validate(task.scorer_of(model), cases),
        listener=listener,
    )
    progress = run.run()
    metric = selected_by(model)
    values = [epoch["metrics"][metric] for epoch in progress.epochs]
    settings = task.settings | {"training": asdict(training)}
    return task.scorer_of(model), {
        "valid": max(values),
        "selected_by": metric,
        "best_epoch": progress.best_epoch + 1,
        "epochs": progress.epochs,
        "training_seconds": sum(epoch["seconds"] for epoch in progress.epochs),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "settings": settings,
    }


def _epochs(task: Trainable, budget: Budget, folder: Path) -> int:
    """The epochs that the budget allows, as they were said when this run began."""
    path = folder / EPOCHS
    if path.exists():
        epochs: int = json.loads(path.read_text(encoding="utf-8"))["epochs"]
        return epochs
    steps = _forever(task.plan)

    @cache
    def probe() -> Training:
        return Training(task.make(), task.plan, task.training, folder=None, validate=None, listener=Silence())

    epochs = budget.epochs_of(task.plan.steps(0), lambda: probe().one_step(next(steps)))
    write_json(path, {"epochs": epochs})
    return epochs


def _forever(plan: Plan) -> Iterator[Step]:
    while True:
        yield from plan.epoch(0)


def latency(scorer: Scorer, split: Split) -> float:
    """Milliseconds to score the catalogue for one user from the whole history: the median over some users."""
    cases = split.cases("test")
    chosen = np.linspace(0, len(cases) - 1, min(LATENCY_USERS, len(cases))).astype(np.int64)
    taken = []
    for user in chosen:
        batch: HistoryBatch = cases.take(np.array([user])).batch
        before = time.perf_counter()
        scorer.scores(batch)
        taken.append(time.perf_counter() - before)
    return 1000 * float(np.median(taken))


def peak_bytes(device: torch.device) -> int | None:
    """The most memory that tensors have had on a CUDA device; elsewhere `resident_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_peak()


def resident_peak() -> int | None:
    """The most memory this process has had resident; None where the system does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else None
