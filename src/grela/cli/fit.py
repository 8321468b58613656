"""`grela fit`: prepare, train, evaluate, report."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from grela.cli.progress import listening
from grela.cli.show import metric_lines
from grela.cli.source import number_or_text, open_events, say
from grela.errors import RunError


@click.command(short_help="Train on a log of events and write a run folder.")
@click.argument("events")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Run folder to make or go on with."
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings, TOML or JSON; options here win.")
@click.option("--recipe", help="Settings of a named experiment (see docs/recipes.md) instead of --config.")
@click.option(
    "--from",
    "start_from",
    type=click.Path(path_type=Path),
    help="Run to start from: its settings, events and weights; EVENTS are new ones, or all there are.",
)
@click.option("--titles", type=click.Path(path_type=Path), help="File with a title for each item.")
@click.option("--user", help="Column of the user ids, if not found by its name.")
@click.option("--item", help="Column of the item ids.")
@click.option("--time", help="Column of the times.")
@click.option(
    "--format", help="Format of EVENTS, if its name does not tell: csv, tsv, parquet, jsonl, inter ..."
)
@click.option("--form", type=click.Choice(["causal", "bidirectional"]), help="Form of the model [causal].")
@click.option("--epochs", type=int, help="Most passes over the training events.")
@click.option("--seed", type=int, help="Seed of everything random.")
@click.option("--min-user-events", type=int, help="k-core: leave out users with fewer events.")
@click.option("--min-item-events", type=int, help="k-core: leave out items with fewer events.")
@click.option("--valid-from", help="Temporal split: validation starts here (number, or ISO date).")
@click.option("--test-from", help="Temporal split: the test starts here.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the processor to use [all].")
@click.option(
    "--log",
    type=click.Choice(["auto", "lines", "json"]),
    default="auto",
    show_default=True,
    help="auto: a bar on a terminal, else quiet; lines: a line an epoch; json: a JSON line for everything.",
)
def fit(
    events: str,
    out: Path,
    start_from: Path | None,
    log: str,
    device: str,
    threads: int | None,
    **options: Any,
) -> None:
    """Train on EVENTS: a file of (user, item, time) events, a folder that `grela data shard` wrote, or a name of
    `grela data list`.

    \b
    grela fit ml-100k --out runs/ml-100k
    grela fit events.parquet --out runs/shop --min-item-events 5
    grela fit log.csv --user who --item what --time when --titles items.csv --out runs/mine
    grela fit events.csv --valid-from 2024-05-01 --test-from 2024-06-01 --out runs/temporal
    grela fit today.csv --from runs/shop --epochs 4 --out runs/shop-2

    Processes share the work when started by torchrun (docs/distributed.md): torchrun --nproc-per-node 2 -m -- grela
    fit ...

    Interrupted, the same command goes on where it was. The folder holds the weights, the catalogue, metrics
    by epoch, the evaluation on the test events and report.html.
    """
    import torch

    from grela.recommender import Recommender
    from grela.training.torchrun import command_of, ranks_of_torchrun

    if threads:
        torch.set_num_threads(threads)
    columns = {name: options[name] for name in ("user", "item", "time", "format", "titles")}
    config = _config(options, start_from)
    try:
        with ranks_of_torchrun(device) as ranks, listening(log) as listener:
            log_of_events, titles = _opened(events, columns, say if ranks.first else _silence)
            Recommender.fit(
                log_of_events,
                config=config,
                titles=titles,
                out=out,
                start_from=start_from,
                listener=listener,
                device=device,
                command=command_of(["grela", *sys.argv[1:]]),
                ranks=ranks,
            )
            first = ranks.first
    except KeyboardInterrupt:
        say(f"interrupted: the same command goes on from the last checkpoint in {out}")
        raise
    if not first:
        return
    result = _evaluation(out)
    if log == "json":
        click.echo(json.dumps({"event": "result", "run": str(out), **result}))
        return
    for line in metric_lines(result):
        click.echo(line)
    click.echo(f"report: {out / 'report.html'}")


def _opened(events: str, columns: dict[str, Any], said: Callable[[str], None]) -> tuple[Any, dict[Any, str]]:
    """What `Recommender.fit` takes as events, and the titles."""
    from grela.data.parts.layout import is_in_parts
    from grela.data.titles import read_titles

    if not is_in_parts(Path(events)):
        return open_events(events, **columns, say=said)
    titles = columns.pop("titles")
    if any(columns.values()):
        raise click.UsageError(
            f"{events} is a log in parts, its form is known: leave out --user, --item, --time and --format"
        )
    return Path(events), read_titles(titles) if titles else {}


def _silence(line: str) -> None:
    """What ranks other than the first say."""


def _evaluation(out: Path) -> dict[str, Any]:
    path = out / "evaluation.json"
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}; `grela evaluate {out}` measures again") from error
    return result


def _config(options: dict[str, Any], start_from: Path | None) -> Any:
    from grela.configuration import Config, read_config
    from grela.recipes import recipe
    from grela.run_folder import read_facts

    if options["config"] and options["recipe"]:
        raise click.UsageError("--config and --recipe both give all settings; use one")
    config = Config() if start_from is None else read_facts(start_from).config
    if options["config"]:
        config = read_config(options["config"])
    elif options["recipe"]:
        config = recipe(options["recipe"])
    times = {name: number_or_text(text) for name, text in _given(options, "valid_from", "test_from").items()}
    return replace(
        config,
        split=replace(config.split, kind="temporal", **times) if times else config.split,
        preparation=replace(config.preparation, **_given(options, "min_user_events", "min_item_events")),
        model=replace(config.model, **_given(options, "form")),
        training=replace(config.training, **_given(options, "epochs", "seed")),
    )


def _given(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if options[name] is not None}
