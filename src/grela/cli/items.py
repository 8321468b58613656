"""`grela items`: add items to a run's catalogue, or remove some, without training."""

import json
from pathlib import Path

import click

from grela.cli.recommend import ids_of

Run = click.argument("run", type=click.Path(path_type=Path))


@click.group(short_help="Add items to a run, or remove some, without training.")
def items() -> None:
    """Change the catalogue of a run that `grela fit` wrote. docs/items.md says what comes of it.

    \b
    grela items add runs/shop B7 --like A1,A2=3 --title "Blue kettle"
    grela items add runs/shop B8 B9 --features features.csv
    grela items remove runs/shop A17
    grela items list runs/shop

    One file is written, item_changes.safetensors in the run's folder. Without it the run is as it was trained.
    """


@items.command(short_help="Add items, like known ones or by their features.")
@Run
@click.argument("new", nargs=-1, required=True)
@click.option("--like", help="Known items that the new one is like: A,B or with weights A=1,B=2.5.")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Table with a column of item ids and columns of numbers, of known items and the new ones.",
)
@click.option("--title", help="Title of the one new item.")
@click.option(
    "--bias", type=float, help="Logarithm of the share of all events that the new item is expected to have."
)
def add(
    run: Path,
    new: tuple[str, ...],
    like: str | None,
    features: Path | None,
    title: str | None,
    bias: float | None,
) -> None:
    """Add the items NEW to RUN: like known ones (the mean of their embeddings), or by their features.

    \b
    grela items add runs/shop B7 --like A1,A2=3 --title "Blue kettle"
    grela items add runs/shop B8 B9 --features features.csv
    """
    from grela.catalogue import NewItem
    from grela.data.features import read_features
    from grela.errors import CatalogueError
    from grela.recommender import Recommender

    if (like is None) == (features is None):
        raise click.UsageError("say --like known items, or --features of known and new ones; one of the two")
    if title is not None and len(new) > 1:
        raise click.UsageError(f"--title is of one item, and {len(new)} are given; add them one by one")
    recommender = Recommender.load(run)
    if like is not None:
        near = _weighted(like)
        made = [NewItem(item=item, like=near, title=title, bias=bias) for item in new]
        changed = recommender.with_items(made)
    else:
        assert features is not None
        vectors = {str(item): vector.tolist() for item, vector in read_features(features).items()}
        for item in new:
            if item not in vectors:
                raise CatalogueError(f"{features} has no row of the new item {item!r}; add one")
        made = [NewItem(item=item, features=vectors[item], title=title, bias=bias) for item in new]
        known: dict[str | int, list[float]] = {
            item: vector for item, vector in vectors.items() if recommender.knows(item)
        }
        changed = recommender.with_items(made, features=known)
    changed.save_items(run)
    _say(changed.split.histories.num_items, run, f"{len(new):,} added")


@items.command(short_help="Remove items: they are never recommended again.")
@Run
@click.argument("known", nargs=-1, required=True)
def remove(run: Path, known: tuple[str, ...]) -> None:
    """Remove the items KNOWN from what RUN recommends. Histories that hold them are understood as before.

    \b
    grela items remove runs/shop A17
    """
    from grela.recommender import Recommender

    changed = Recommender.load(run).without_items(known)
    changed.save_items(run)
    _say(changed.split.histories.num_items, run, f"{len(known):,} removed")


@items.command(name="list", short_help="What was added and removed.")
@Run
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(run: Path, as_json: bool) -> None:
    """List what was changed of RUN's catalogue since it was trained.

    \b
    grela items list runs/shop
    """
    from grela.item_changes import read_item_changes
    from grela.models.io import load_model, saved_digest

    width = load_model(run).config.width
    changes, _ = read_item_changes(run, model=saved_digest(run), width=width)
    if as_json:
        found = {"added": list(changes.origins), "removed": list(changes.removed)}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for origin in changes.origins:
        title = changes.titles.get(origin["item"])
        made_of = {name: value for name, value in origin.items() if name != "item"}
        click.echo(f"added    {origin['item']}{f'  {title}' if title else ''}  {json.dumps(made_of)}")
    for raw in changes.removed:
        click.echo(f"removed  {raw}")
    if not changes:
        click.echo("the catalogue is as it was trained")


def _weighted(text: str) -> dict[str, float]:
    """A,B=2 as {"A": 1.0, "B": 2.0}; a part is an id with its weight only if a number follows its last `=`."""
    found: dict[str, float] = {}
    for part in ids_of(text):
        item, _, weight = part.rpartition("=")
        try:
            found |= {item: float(weight)} if item else {part: 1.0}
        except ValueError:
            found[part] = 1.0
    return found


def _say(items: int, run: Path, done: str) -> None:
    click.echo(f"{done}; the catalogue of {run} has {items:,} items, those removed among them")
