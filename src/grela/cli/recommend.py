"""`grela recommend`: the next items for users of a run, or for any history."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grela.cli.source import number_or_text, workers_at

if TYPE_CHECKING:
    from grela.serving.recommendation import Recommendation


@click.command(short_help="Recommend to users of a run, or to any history.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--user", "users", multiple=True, help="Id of a user of the run; may be repeated.")
@click.option("--history", "histories", multiple=True, help="Item ids, oldest first, separated by commas.")
@click.option(
    "--times", multiple=True, help="Times of a --history's items, in its order; once for each --history."
)
@click.option("--all", "everyone", is_flag=True, help="All users of the run; needs --out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="With --all: Parquet file to write; with --partitions a folder.",
)
@click.option("--partitions", type=click.IntRange(1, 99_999), help="With --all: write up to so many files.")
@click.option("--ray", metavar="ADDRESS", help="With --partitions: a Ray cluster to write them on, or auto.")
@click.option("-k", type=int, default=10, show_default=True, help="How many items.")
@click.option("--allow", help="Recommend among these items only (ids separated by commas).")
@click.option("--exclude", help="Never recommend these items.")
@click.option(
    "--filter-seen/--keep-seen",
    default=None,
    help="Whether to leave out items of the history. A model that learnt what repeats are worth needs neither.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recommend(
    run: Path,
    users: tuple[str, ...],
    histories: tuple[str, ...],
    times: tuple[str, ...],
    everyone: bool,
    out: Path | None,
    partitions: int | None,
    ray: str | None,
    k: int,
    allow: str | None,
    exclude: str | None,
    filter_seen: bool | None,
    device: str,
    as_json: bool,
) -> None:
    """Recommend from RUN, a folder that `grela fit` wrote.

    \b
    grela recommend runs/ml-100k --user 196
    grela recommend runs/ml-100k --history 50,172,181 -k 5 --json
    grela recommend runs/ml-100k --history 50,172 --times 881250949,881250980
    grela recommend runs/ml-100k --all --out lists.parquet
    grela recommend runs/shop --all --out lists --partitions 64 --ray auto

    An id with a comma in it goes in double quotes.
    """
    from grela.recommender import Recommender

    if everyone != (out is not None):
        raise click.UsageError(
            "--all and --out go together: --out FILE.parquet, or --partitions N and --out FOLDER"
        )
    if everyone and (users or histories or times or allow or exclude):
        raise click.UsageError("--all takes no --user, --history, --times, --allow or --exclude")
    if partitions is not None and not everyone:
        raise click.UsageError("--partitions goes with --all and --out FOLDER")
    if ray is not None and partitions is None:
        raise click.UsageError("--ray goes with --partitions N")
    if times and len(times) != len(histories):
        raise click.UsageError(f"{len(times)} --times for {len(histories)} --history; give one for each")
    if not (everyone or users or histories):
        raise click.UsageError("say for whom: --user ID, --history A,B,C or --all")
    if partitions is not None and out is not None:
        _in_parts(run, out, partitions, ray, k=k, filter_seen=filter_seen, device=device)
        return
    recommender = Recommender.load(run, device=device)
    if out is not None:
        rows = recommender.recommend_to_parquet(out, k=k, filter_seen=filter_seen)
        click.echo(f"{rows:,} rows in {out}")
        return
    found = recommender.recommend(
        [*users, *(ids_of(text) for text in histories)],
        k=k,
        times=[*(None for _ in users), *(_times(text) for text in times)] if times else None,
        allow=None if allow is None else ids_of(allow),
        exclude=[] if exclude is None else ids_of(exclude),
        filter_seen=filter_seen,
    )
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        _show(one)


def _in_parts(run: Path, out: Path, partitions: int, ray: str | None, **asked: Any) -> None:
    from grela.lists_in_parts import recommend_in_parts

    with workers_at(ray) as workers:
        files = recommend_in_parts(run.resolve(), out.resolve(), parts=partitions, workers=workers, **asked)
    click.echo(f"{sum(one.rows for one in files):,} rows in {len(files)} files in {out}")


def ids_of(text: str) -> list[str]:
    """Comma-separated ids; an id in double quotes may hold commas."""
    try:
        return [part for part in next(csv.reader([text], skipinitialspace=True, strict=True), []) if part]
    except csv.Error as error:
        raise click.UsageError(f"cannot read the ids {text!r}: {error}; expected A,B,C") from error


def _times(text: str) -> list[int | float | str]:
    """Comma-separated times: whole numbers, other numbers, or ISO 8601."""
    return [number_or_text(part) for part in ids_of(text)]


def _show(one: "Recommendation") -> None:
    click.echo(f"for user {one.user}:" if one.user is not None else "for this history:")
    if one.unknown:
        click.echo(f"  skipped, not in the catalogue: {', '.join(map(str, one.unknown))}", err=True)
    if one.cold_start:
        click.echo("  nothing of the history is known: the most popular items", err=True)
    if not one.items:
        click.echo("  nothing is left that may be recommended", err=True)
    for rank, item in enumerate(one.items, 1):
        name = f"{item.title}  [{item.item}]" if item.title else str(item.item)
        click.echo(f"  {rank:>3}  {item.score:8.3f}  {name}")
