"""The events of a command: a file, or a data set of the catalogue by its name."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from pathlib import Path

import click

from grela.data.events import Events, read_events
from grela.data.sources import SOURCES, load
from grela.data.titles import read_titles
from grela.data.vocabulary import RawId
from grela.errors import ReadError
from grela.workers.on_ray import RayWorkers
from grela.workers.protocol import OneProcess, Workers


def say(line: str) -> None:
    """A line for the person at the terminal, beside the output proper."""
    click.echo(line, err=True)


def open_events(
    events: str,
    *,
    user: str | None,
    item: str | None,
    time: str | None,
    format: str | None,
    titles: Path | None,
    say: Callable[[str], None] = say,
) -> tuple[Events, dict[RawId, str]]:
    """Events and titles of a path or a catalogued name; `titles` is a file of titles beside a path."""
    known: dict[RawId, str] = {}
    given = {"--user": user, "--item": item, "--time": time, "--format": format}
    if names_a_data_set(events):
        if any(given.values()):
            names = ", ".join(name for name, value in given.items() if value)
            raise click.UsageError(
                f"{events} is a data set of the catalogue, its form is known: leave out {names}"
            )
        found = load(events, say=say)
        log, known = found.events, found.titles
    else:
        log = read_events(events, user=user, item=item, time=time, format=format)
    return log, read_titles(titles) if titles else known


def names_a_data_set(events: str) -> bool:
    """Whether the catalogue has it and no path is called so; ReadError for what looks like neither."""
    if Path(events).exists():
        return False
    known = events.split("/")[0] in SOURCES
    if not known and not Path(events).suffix:
        near = get_close_matches(events, SOURCES, n=1)
        raise ReadError(
            f"{events!r} is neither a file nor a data set of the catalogue: give a path, or a name of "
            f"`grela data list`{f' such as {near[0]}' if near else ''}"
        )
    return known


def workers_at(ray: str | None) -> AbstractContextManager[Workers]:
    """Who does the parts of a job: the Ray cluster at that address, or this process."""
    return nullcontext(OneProcess()) if ray is None else RayWorkers(ray)


def number_or_text(text: str) -> int | float | str:
    """A number where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
