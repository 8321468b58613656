"""`grela data`: public data sets by name, and logs that one file or one machine does not hold."""

from dataclasses import replace
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import Any

import click

from grela.cli.source import names_a_data_set, open_events, say, workers_at


@click.group(short_help="List public data sets, get one, or prepare a large log in parts.")
def data() -> None:
    """Public data sets by name: what there is, where it lies, and getting it; and large logs.

    \b
    grela data list
    grela data get ml-100k
    grela data shard events/ --out prepared --partitions 64
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


@data.command(short_help="Prepare a large log, and write it in parts that `grela fit` reads.")
@click.argument("events")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder to write.")
@click.option(
    "--partitions", required=True, type=click.IntRange(1, 99_999), help="Files to deal the users to."
)
@click.option("--ray", metavar="ADDRESS", help="A Ray cluster to do it on, host:port or auto [this process].")
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings of a fit; [preparation] counts here."
)
@click.option("--min-user-events", type=int, help="k-core: leave out users with fewer events.")
@click.option("--min-item-events", type=int, help="k-core: leave out items with fewer events.")
@click.option("--user", help="Column of the user ids, if not found by its name.")
@click.option("--item", help="Column of the item ids.")
@click.option("--time", help="Column of the times.")
@click.option("--format", help="Format of EVENTS, if its name does not tell.")
def shard(
    events: str,
    out: Path,
    partitions: int,
    ray: str | None,
    config: Path | None,
    min_user_events: int | None,
    min_item_events: int | None,
    **columns: str | None,
) -> None:
    """Prepare EVENTS and deal its users to files: a file of events, a folder of such files, or a data set's name.

    \b
    grela data shard events/ --out prepared --partitions 64 --min-item-events 5
    grela data shard events/ --out prepared --partitions 64 --ray auto
    grela fit prepared --out runs/shop

    What comes of it is what `grela fit EVENTS` would prepare. On a Ray cluster, EVENTS and the folder must be on
    storage that all its machines share.
    """
    from grela.configuration import Config, read_config
    from grela.data.parts.shard import EventFiles, shard

    settings = (read_config(config) if config else Config()).preparation
    least: dict[str, Any] = {"min_user_events": min_user_events, "min_item_events": min_item_events}
    settings = replace(settings, **{name: value for name, value in least.items() if value is not None})
    if names_a_data_set(events):
        log: Any = open_events(events, **columns, titles=None, say=say)[0]
    else:
        log = EventFiles.of(Path(events), **columns)
    with workers_at(ray) as workers:
        manifest = shard(log, out.resolve(), parts=partitions, settings=settings, workers=workers, tell=say)
    for line in manifest.report.lines():
        click.echo(line)
    click.echo(f"{len(manifest.parts)} files in {out}; train with `grela fit {out} --out RUN`")


def _variants(names: tuple[str, ...]) -> str:
    """As "{50m,500m,5b}"; of many, the first and how many."""
    return f"{{{','.join(names)}}}" if len(names) < 4 else f"{names[0]} (one of {len(names)})"
