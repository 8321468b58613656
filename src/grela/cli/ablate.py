"""`grela ablate`: what each part of the paper's model is worth, against the defaults."""

import sys
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from grela.cli.compare import contest_options, held, say_failures
from grela.errors import ConfigError

BASE = "recgrela"


@click.command(short_help="Take the paper's parts away, one by one, and measure what each is worth.")
@click.argument("events")
@click.option("--only", help="Some of the ablations, with commas between [all].")
@contest_options
def ablate(events: str, only: str | None, out: Path, **options: Any) -> None:
    """Measure the default model and its ablations on EVENTS, as `grela compare` does.

    \b
    grela ablate ml-100k --seeds 1 --epochs 12 --out runs/ablated
    grela ablate events.csv --only without-gate,2-layers --out runs/ablated

    Each is the default but for one change: docs/recipes.md lists them. The table shows by how much each differs
    from the default on the same users, with the interval and Holm's p-value. Interrupted, the same command goes on.
    """
    from grela.comparison.contestants import VARIANT, contestant
    from grela.comparison.table import differences
    from grela.recipes.ideas import ABLATIONS

    names = list(ABLATIONS) if only is None else [name.strip() for name in only.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"no ablation is named, expected some of {', '.join(ABLATIONS)}")
    variants = [VARIANT + name for name in names]
    for name in variants:
        contestant(name)
    found = held(events, [BASE, *variants], out, options)
    say_failures(found)
    measured = {model["model"]: model for model in found["models"]}
    if BASE not in measured:
        raise click.ClickException("the default model failed, so there is nothing to compare with")
    table = Table(
        title=f"{found['source']}, test NDCG@10; differences to the default, 95 % intervals", box=SIMPLE
    )
    table.add_column("")
    for words in ("seeds", "not filtered", "difference", "p (Holm)", "filtered", "difference", "p (Holm)"):
        table.add_column(words, no_wrap=True, justify="right")
    pairs = {
        view: {pair.a: pair for pair in differences(out, BASE, view)} for view in ("unfiltered", "filtered")
    }
    for name, model in measured.items():
        row = [name.removeprefix(VARIANT) if name != BASE else "default", str(len(model["seeds"]))]
        for view in ("unfiltered", "filtered"):
            row.append(f"{model[view]['ndcg@10']['mean']:.4f}")
            pair = pairs[view].get(name)
            row += ["", ""] if pair is None else [_difference(pair), f"{pair.p_holm:.3f}"]
        table.add_row(*row)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)
    click.echo(f"report: {out / 'comparison.html'}")


def _difference(pair: Any) -> str:
    return f"{pair.difference:+.4f} ({pair.low:+.4f} to {pair.high:+.4f})"
