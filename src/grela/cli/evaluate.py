"""`grela evaluate`: measure a run on its held-out events."""

import json
from pathlib import Path
from typing import Literal

import click

from grela.cli.show import metric_lines


@click.command(short_help="Measure a run: full ranking, seen items filtered and not.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--part", type=click.Choice(["test", "valid"]), default="test", show_default=True, help="Held-out events."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: Path, part: Literal["test", "valid"], device: str, as_json: bool) -> None:
    """Evaluate RUN, a folder that `grela fit` wrote, on its own split.

    \b
    grela evaluate runs/ml-100k
    grela evaluate runs/ml-100k --json
    """
    from grela.recommender import Recommender

    result = Recommender.load(run, device=device).evaluation_json(part)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for line in metric_lines(result):
        click.echo(line)
