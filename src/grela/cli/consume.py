"""`grela consume`: events of a Kafka topic into the store of a run."""

import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grela.cli.source import say

if TYPE_CHECKING:
    from grela.live.kafka import Followed, Rejected


@click.command(short_help="Log the events of a Kafka topic.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--brokers", required=True, help="HOST:PORT of one broker or more, separated by commas.")
@click.option("--topic", required=True, help="The topic; each message is one event as JSON.")
@click.option("--group", default="grela", show_default=True, help="The consumer group.")
@click.option("--store", help="Where events are kept, as for `grela serve`. [default: RUN/events.sqlite]")
@click.option(
    "--rejected", type=click.Path(path_type=Path), help="File for messages that are no events, as JSON lines."
)
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help="File of librdkafka's settings, a line NAME=VALUE each.",
)
def consume(
    run: Path,
    brokers: str,
    topic: str,
    group: str,
    store: str | None,
    rejected: Path | None,
    settings: Path | None,
) -> None:
    """Log what is sent to a topic, for RUN's catalogue, until interrupted.

    \b
    grela consume runs/ml-100k --brokers localhost:9092 --topic events

    A message is one event: {"user": 196, "item": 50, "time": 881250949, "id": "..."}, time and id if you have them.
    Each is logged once, however often this command is ended and started again. docs/store.md says the rest.
    """
    from grela.live.kafka import RejectedFile, connect, follow
    from grela.live.messages import Catalogue
    from grela.store.opening import open_store

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    catalogue = Catalogue.of(run)
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_store(store or str(run / "events.sqlite"))))
        keep = None if rejected is None else stack.enter_context(RejectedFile(rejected))
        given = {} if settings is None else _settings(settings)
        consumer = stack.enter_context(closing(connect(brokers, topic, group, given)))
        say(f"following {topic} at {brokers} as {group}; an interrupt ends it")

        def reject(messages: "Sequence[Rejected]") -> None:
            for one in messages:
                say(f"rejected {one.message.place}: {one.reason}")
            if keep is not None:
                keep(messages)

        _report(follow(consumer, log, catalogue, reject=reject, done=lambda _: ended.is_set()))


def _report(followed: "Followed") -> None:
    click.echo(
        f"{followed.logged:,} events logged, {followed.repeated:,} were there before, "
        f"{followed.rejected:,} messages rejected"
    )


def _settings(path: Path) -> dict[str, str]:
    """Lines NAME=VALUE; empty ones and those that begin with # say nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read the settings {path}: {error}") from error
    found = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.partition("=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals:
            # Not the line itself: it may be a password.
            raise click.UsageError(f"{path}, line {number} has no '=', expected NAME=VALUE")
        found[name.strip()] = value.strip()
    return found
