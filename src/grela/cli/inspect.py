"""`grela inspect`: what a run is, without loading its data."""

import json
from pathlib import Path

import click


@click.command(short_help="Say what a run is: data, split, settings, progress.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(run: Path, as_json: bool) -> None:
    """Describe RUN: its data and split, settings, and how far it is.

    \b
    grela inspect runs/ml-100k
    """
    from grela.run_folder import read_facts, read_metrics
    from grela.training.loop import METRICS

    facts = read_facts(run)
    # An unfinished run has no metrics before its first checkpoint.
    epochs = read_metrics(run) if facts.finished or (run / METRICS).exists() else []
    if as_json:
        click.echo(json.dumps({**facts.to_json(), "epochs": epochs}, indent=2))
        return
    click.echo(f"run {run}: {'finished' if facts.finished else 'unfinished'}, {len(epochs)} epochs")
    click.echo(f"made by: {facts.command}")
    for line in (*facts.prepared, *facts.split_report):
        click.echo(line)
    if epochs:
        last = epochs[-1]
        click.echo(f"best epoch {last['best_epoch']} of {last['epoch']}, last loss {last['loss']:.3f}")
    for section, values in facts.config.to_json().items():
        click.echo(f"[{section}]")
        for name, value in values.items():
            click.echo(f"{name} = {json.dumps(value)}")
