"""`grela compare`: several models on one split, side by side."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from grela.cli.progress import duration
from grela.cli.source import number_or_text, open_events

DEFAULT_MODELS = "recgrela,sasrec,popularity"


Command = Callable[..., None]


def contest_options(command: Command) -> Command:
    """The options that comparisons share."""
    for option in reversed(
        (
            click.option(
                "--seeds",
                type=click.IntRange(1, 100),
                default=3,
                show_default=True,
                help="Seeds of each model, from 0 on.",
            ),
            click.option(
                "--epochs", type=int, help="Budget: passes over the training events of each model [24]."
            ),
            click.option(
                "--seconds",
                type=float,
                help="Budget: seconds of training of each model, instead of --epochs.",
            ),
            click.option(
                "--trials",
                type=click.IntRange(0, 1000),
                default=0,
                show_default=True,
                help="Settings tried for each model on validation data before, by Optuna.",
            ),
            click.option(
                "--out",
                required=True,
                type=click.Path(path_type=Path),
                help="Folder to make, to go on with or to add to.",
            ),
            click.option("--user", help="Column of the user ids, if not found by its name."),
            click.option("--item", help="Column of the item ids."),
            click.option("--time", help="Column of the times."),
            click.option("--format", help="Format of EVENTS, if its name does not tell."),
            click.option("--min-user-events", type=int, help="k-core: leave out users with fewer events."),
            click.option("--min-item-events", type=int, help="k-core: leave out items with fewer events."),
            click.option(
                "--valid-from", help="Temporal split: validation starts here (number, or ISO date)."
            ),
            click.option("--test-from", help="Temporal split: the test starts here."),
            click.option(
                "--device",
                type=click.Choice(["auto", "cpu", "cuda"]),
                default="auto",
                show_default=True,
                help="What the models are trained and measured on.",
            ),
            click.option(
                "--threads", type=click.IntRange(min=1), help="Threads of the processor to use [all]."
            ),
        )
    ):
        command = option(command)
    return command


@click.command(short_help="Train and measure several models on one split, alike.")
@click.argument("events")
@click.option("--models", default=DEFAULT_MODELS, show_default=True, help="Names, with commas between.")
@contest_options
def compare(events: str, models: str, out: Path, **options: Any) -> None:
    """Train MODELS on EVENTS, a file of (user, item, time) events or a name of `grela data list`, and compare them.

    \b
    grela compare ml-100k --models recgrela,sasrec,popularity --out runs/compared
    grela compare events.csv --models recgrela,sasrec --seeds 1 --seconds 600 --out runs/compared

    All have one split, one budget, one loop of training and one evaluation. Interrupted, the same command goes on;
    other models or more seeds add to the table. A model that fails is named, and the others go on. The folder
    holds comparison.json, comparison.csv and comparison.html.
    """
    found = held(events, _names(models), out, options)
    # Piped, a table is as wide as it is.
    width = None if sys.stdout.isatty() else 200
    Console(file=sys.stdout, width=width).print(_final(found))
    say_failures(found)
    click.echo(f"report: {out / 'comparison.html'}")


def held(events: str, models: list[str], out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Compare the models as the options say, shown as it goes; returns what comparison.json holds."""
    import torch

    from grela.comparison.budget import Budget
    from grela.comparison.contest import compare as run
    from grela.fitting import pick_device

    given = {name: options[name] for name in ("epochs", "seconds") if options[name] is not None}
    budget = Budget(**(given or {"epochs": 24}), trials=options["trials"])
    device = pick_device(options["device"])
    columns = {name: options[name] for name in ("user", "item", "time", "format")}
    log, _ = open_events(events, titles=None, **columns)
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        return run(
            log,
            models=models,
            seeds=range(options["seeds"]),
            budget=budget,
            out=out,
            threads=options["threads"] or torch.get_num_threads(),
            device=device,
            watcher=Shown(live, quiet=not console.is_terminal),
            config=_config(options),
        )


def say_failures(found: dict[str, Any]) -> None:
    """Name what failed, on the error stream."""
    for name, why in found["failed"].items():
        click.echo(f"failed: {name}: {why}", err=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _config(options: dict[str, Any]) -> Any:
    from grela.configuration import Config, SplitConfig
    from grela.data.preparation import Preparation

    least = {n: options[n] for n in ("min_user_events", "min_item_events") if options[n] is not None}
    times = {n: number_or_text(options[n]) for n in ("valid_from", "test_from") if options[n] is not None}
    split = SplitConfig(kind="temporal", **times) if times else SplitConfig()
    return Config(preparation=Preparation(**least), split=split)


class Shown:
    """A live table on a terminal, and a line for each run elsewhere."""

    def __init__(self, live: Live, *, quiet: bool) -> None:
        self.live, self.quiet = live, quiet
        self.rows: dict[str, list[str]] = {}

    def begins(self, run: Any, number: int, of: int) -> None:
        """A new row."""
        self._show(run, "begins", f"{number} of {of}")

    def tells(self, run: Any, event: dict[str, Any]) -> None:
        """The row moves."""
        if event.get("event") == "step" and not self.quiet:
            left = duration(event["seconds_left"])
            place = f"epoch {event['epoch']}/{event['epochs']}"
            self._show(run, place, f"loss {event['loss'] or float('nan'):.3f}, {left} left")
        elif event.get("event") == "epoch":
            valid = event["metrics"].get("filtered/ndcg@10")
            self._show(run, f"epoch {event['epoch']} done", "" if valid is None else f"valid {valid:.4f}")
        elif event.get("event") == "notice":
            self._show(run, "", str(event["message"]))

    def ends(self, run: Any, record: dict[str, Any]) -> None:
        """The row rests."""
        filtered, unfiltered = (record[view]["ndcg@10"] for view in ("filtered", "unfiltered"))
        self._show(run, "measured", f"NDCG@10 {filtered:.4f} filtered, {unfiltered:.4f} not")

    def fails(self, run: Any, why: str) -> None:
        """The row says why."""
        self._show(run, "failed", why)

    def _show(self, run: Any, state: str, words: str) -> None:
        if self.quiet:
            click.echo(f"{run}: {state} {words}".rstrip(), err=True)
            return
        self.rows[str(run)] = [str(run), state, words]
        table = Table("run", "state", "")
        for row in self.rows.values():
            table.add_row(*row)
        self.live.update(table, refresh=True)


def _final(found: dict[str, Any]) -> Table:
    table = Table(title=f"{found['source']}, test; 95 % intervals over users", box=SIMPLE)
    table.add_column("model")
    table.add_column("seeds", justify="right")
    for words in ("NDCG@10 not filtered", "filtered", "HR@10 not filtered", "filtered"):
        table.add_column(words, no_wrap=True)
    table.add_column("training", justify="right")
    for model in found["models"]:
        figures = [
            _figure(model[view][metric])
            for metric in ("ndcg@10", "hr@10")
            for view in ("unfiltered", "filtered")
        ]
        table.add_row(model["model"], str(len(model["seeds"])), *figures, duration(model["training_seconds"]))
    return table


def _figure(estimate: dict[str, Any]) -> str:
    """As ".1234 .120–.127"."""
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in estimate["interval"])
    return f"{estimate['mean']:.4f}".removeprefix("0") + f" {low}–{high}"
