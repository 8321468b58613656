"""`grela data`: public data sets by name."""

from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill

import click

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
    """List every catalogued data set: counts as published, terms, and its folder on this machine.

    \b
    grela data list
    """
    from grela.data.sources import listing

    width = min(get_terminal_size().columns, 100)
    for row in listing():
        counts = (row.counts.users, row.counts.items, row.counts.events)
        users, items, events = ("?" if n is None else f"{n:,}" for n in counts)
        click.echo(f"{row.name}/{_variants(row.variants)}" if row.variants else row.name)
        click.echo(f"    {users} users, {items} items, {events} events")
        click.echo(fill(row.licence, width, initial_indent=" " * 4, subsequent_indent=" " * 4))
        click.echo(f"    {row.here}")


@data.command(short_help="Download a data set into the cache.")
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to look or put it, instead of the cache."
)
def get(name: str, folder: Path | None) -> None:
    """Get the data set NAME from its publisher and print the folder it is in.

    A set that lies in the folder of data sets that GRELA_DATA names, or in the cache, is not downloaded again.

    \b
    grela data get ml-100k
    grela data get ml-1m --folder data/ml-1m
    """
    from grela.data.sources import get as obtain

    click.echo(str(obtain(name, folder=folder, say=say)))


def _variants(names: tuple[str, ...]) -> str:
    """As "{50m,500m,5b}"; of many, the first and how many."""
    return f"{{{','.join(names)}}}" if len(names) < 4 else f"{names[0]} (one of {len(names)})"
