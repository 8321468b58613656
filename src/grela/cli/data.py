"""`grela data`: public data sets by name."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from grela.cli.source import say


@click.group(short_help="List public data sets, or get one.")
def data() -> None:
    """Public data sets by name: what there is, where it lies, and getting it.

    \b
    grela data list
    grela data get ml-100k
    """


@data.command(name="list", short_help="What there is, its terms, and where it lies now.")
def list_() -> None:
    """List every catalogued data set: counts as published, terms, and its folder on this machine."""
    from grela.data.sources import listing

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "users", "items", "events", "terms", "here"):
        table.add_column(heading, justify="right" if heading in ("users", "items", "events") else "left")
    for row in listing():
        name = f"{row.name}/{{{','.join(row.variants)}}}" if row.variants else row.name
        counts = [_count(n) for n in (row.counts.users, row.counts.items, row.counts.events)]
        table.add_row(name, *counts, row.licence, row.here)
    Console(highlight=False, soft_wrap=False).print(table)


@data.command(short_help="Download a data set into the cache.")
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to look or put it, instead of the cache."
)
def get(name: str, folder: Path | None) -> None:
    """Get the data set NAME from its publisher and print the folder it is in.

    A set that lies in the folder of data sets that GRELA_DATA names, or in the cache, is not downloaded again.
    """
    from grela.data.sources import get as obtain

    click.echo(str(obtain(name, folder=folder, say=say)))


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
