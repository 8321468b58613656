"""From a split and a configuration to a trained model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from grela.configuration import Config
from grela.data.events import Events, read_events
from grela.data.histories import Cases, Histories, user_blocks
from grela.data.parts.assemble import assemble
from grela.data.parts.layout import is_in_parts
from grela.data.preparation import KEEP_ALL, PreparationReport, prepare
from grela.data.splitting import Split
from grela.errors import ConfigError, EmptyDataError, KernelError
from grela.evaluation.evaluate import accuracy
from grela.models.forms import choose_form
from grela.models.recgrela import RecGRELA
from grela.models.start import Start, take_over
from grela.ops.compiled.build import load_library, waits_for_compiler
from grela.ops.gaps import gap_buckets
from grela.ops.triton.launch import why_no_triton
from grela.serving.scorer import ModelScorer
from grela.training.config import TrainingConfig
from grela.training.listener import Listener
from grela.training.loop import Training, selected_by
from grela.training.losses import event_counts
from grela.training.precision import product_dtype
from grela.training.prefixes import PrefixPlan
from grela.training.ranks import ALONE, Ranks
from grela.training.sequences import Plan, TrainingSequences
from grela.training.sharded import ShardedTraining, must_be_together, without_table
from grela.training.statistics import gap_counts, repeat_log_odds
from grela.training.streams import StreamPlan
from grela.training.windows import WindowPlan


def prepared(events: Any, config: Config) -> tuple[Histories, PreparationReport, Config]:
    """The histories of what `Recommender.fit` takes, what was done to the log, and the settings that it was done by.

    A folder in parts was prepared already: its settings take the place of those of `config`, which must be the
    defaults or the same (ConfigError).
    """
    if isinstance(events, str | Path) and is_in_parts(Path(events)):
        histories, manifest = assemble(Path(events))
        done = replace(manifest.preparation, memory_limit=config.preparation.memory_limit)
        asked = replace(config.preparation, memory_limit=KEEP_ALL.memory_limit)
        if asked != KEEP_ALL and config.preparation != done:
            raise ConfigError(
                f"{events} was prepared with {done}, but {config.preparation} was asked for; leave [preparation] and "
                "--min-...-events out, or shard the log again"
            )
        return histories, manifest.report, replace(config, preparation=done)
    return *prepare(whole_log(events), config.preparation), config


def whole_log(events: Any) -> Events:
    """The log, opened here where it is not yet; ConfigError for a folder in parts."""
    if isinstance(events, str | Path) and is_in_parts(Path(events)):
        raise ConfigError(
            f"{events} is a log in parts, which a fit that goes on from a run cannot add to it; give the new events as "
            "a file or a data frame"
        )
    return events if isinstance(events, Events) else read_events(events)


def train(
    split: Split,
    config: Config,
    *,
    folder: Path | None,
    listener: Listener,
    device: torch.device,
    start: Start | None = None,
    ranks: Ranks = ALONE,
) -> tuple[RecGRELA, list[dict[str, Any]]]:
    """The model of the best epoch, and the record of every epoch; resumes from `folder` where it can.

    `config` is `sized` for the split, which has passed `must_be_trainable`; `start` gives the weights to begin with.
    """
    histories, settings = split.histories, config.training
    plan = training_plan(split, config)
    if ranks.size > plan.rows:
        listener.notice(_idle(ranks.size, plan.rows, settings))
    if device.type == "cpu" and settings.kernels in ("auto", "compiled") and waits_for_compiler():
        listener.notice("compiling the kernels for this processor: some seconds, once")
    if start is not None and settings.item_table == "sharded":
        raise ConfigError(
            "training.item_table is 'sharded', but a fit that starts from another run needs the whole table; use "
            "'replicated', or fit anew"
        )
    model = untrained(config, plan.sequences, histories.num_items, start).to(device)
    validate = validator(split.cases("valid"), settings, device, ranks)
    if start is not None:
        listener.notice(_said_of_start(validate(model), selected_by(model)))
    kind = ShardedTraining if settings.item_table == "sharded" else Training
    training = kind(
        model,
        plan,
        settings,
        folder=folder,
        validate=validate,
        listener=listener,
        ranks=ranks,
    )
    epochs = training.run().epochs
    return cast(RecGRELA, training.whole()), epochs


def _idle(ranks: int, rows: int, settings: TrainingConfig) -> str:
    return (
        f"{ranks - rows} of {ranks} ranks have nothing to compute: a step of training.batch_positions "
        f"{settings.batch_positions} has {rows} rows (training.rows {settings.rows} at most). Start fewer, or raise "
        "these settings, which makes other steps and another model"
    )


def _said_of_start(metrics: dict[str, float], name: str) -> str:
    return f"begins at a validation {name.replace('/', ' ')} of {metrics[name]:.4f}"


def untrained(
    config: Config, sequences: TrainingSequences, num_items: int, start: Start | None = None
) -> RecGRELA:
    """The model that training begins with: drawn by the seed, its biases and classes as the events have them.

    With a sharded item table it is without that, see `grela.training.sharded`. With a `start` all is as there, save
    items that are new: theirs are drawn, and biased as their events have them.
    """
    rng = torch.Generator().manual_seed(config.training.seed)
    make = without_table if config.training.item_table == "sharded" else RecGRELA
    model = make(replace(config.model, num_items=num_items), rng=rng)
    if model.repeats is not None:
        model.repeats.start_at(repeat_log_odds(sequences, num_items))
    if model.item_bias is not None:
        model.item_bias.start_at(event_counts(sequences, num_items))
    if model.next_gap is not None:
        model.next_gap.divide(gap_counts(sequences))
    if start is not None:
        take_over(model, start)
    return model


def sized(config: Config, split: Split) -> Config:
    """`config` with what it leaves to the number of training events filled in."""
    events = int(split.train_end.sum())
    return replace(config, training=config.training.sized_for(events, form=config.model.form))


def must_be_trainable(split: Split, config: Config) -> None:
    """Raise EmptyDataError where there is nothing to rank or nothing to learn."""
    if split.histories.num_items < 2:
        raise EmptyDataError(
            "the catalogue has one item, so there is nothing to rank; at least two are needed"
        )
    if not training_plan(split, config).steps(0):
        raise EmptyDataError(
            "no user has two events to train on (held-out events do not count): give more events, "
            "or filter less with min_user_events and min_item_events"
        )


def must_have_kernels(config: Config, device: torch.device) -> None:
    """Raise KernelError where the kernels that the configuration insists on cannot be had on this machine."""
    kernels = config.training.kernels
    if kernels == "compiled":
        if device.type != "cpu":
            raise KernelError(f"kernels is 'compiled', but those are for the CPU and the device is {device}")
        load_library()
    why_not = why_no_triton(device) if kernels == "triton" else None
    if why_not is not None:
        raise KernelError(f"kernels is 'triton', but {why_not}")


def must_have_ranks(config: Config, ranks: Ranks) -> None:
    """Raise ConfigError where the configuration needs ranks and this process is none."""
    if config.training.item_table == "sharded":
        must_be_together(ranks)


def training_plan(split: Split, config: Config) -> Plan:
    """The steps of each epoch over the split's training events."""
    settings, histories = config.training, split.histories
    start = histories.offsets[:-1]
    gaps = _gaps(histories) if config.model.gaps or config.model.next_gaps else None
    sequences = TrainingSequences(histories.items, start, start + split.train_end, gaps)
    causal = StreamPlan if settings.histories == "carried" else WindowPlan
    plan = causal if config.model.form == "causal" else PrefixPlan
    return plan(sequences, settings.window, settings.batch_positions, settings.seed, settings.rows)


def _gaps(histories: Histories) -> np.ndarray:
    """The bucket of every event's gap, uint8 [E], formed a block of users at a time."""
    gaps = np.empty(histories.num_events, np.uint8)
    for first, last in user_blocks(histories.offsets):
        starts = histories.offsets[first : last + 1]
        gaps[starts[0] : starts[-1]] = gap_buckets(
            histories.times[starts[0] : starts[-1]], starts[:-1] - starts[0]
        )
    return gaps


def validator(
    cases: Cases, config: TrainingConfig, device: torch.device, ranks: Ranks = ALONE
) -> Callable[[RecGRELA], dict[str, float]]:
    """Measures a model on the validation cases, in the precision of its training; each rank takes a part of them."""
    dtype = product_dtype(config.precision, device)
    part = ranks.part(len(cases))
    mine = cases.take(part)

    def measure(model: RecGRELA) -> dict[str, float]:
        form = choose_form(model, config.kernels)
        scorer = ModelScorer(model, window=config.window, dtype=dtype, form=form)
        # Where there are no cases at all, `accuracy` says so; a rank that gets none of several has nothing to say.
        of_mine = accuracy(scorer, mine) if len(mine) or not len(cases) else {}
        return {name: float(values.mean()) for name, values in ranks.all_values(of_mine).items()}

    return measure


def pick_device(name: str) -> torch.device:
    """The device of "auto", "cpu" or "cuda"; raises ConfigError where there is no such thing."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device is {name!r}, expected 'auto', 'cpu' or 'cuda'")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is 'cuda', but this machine has no CUDA device that torch can use; use 'cpu'"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
