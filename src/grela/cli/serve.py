"""`grela serve`: a run as a service."""

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grela.cli.source import say
from grela.errors import ConfigError

if TYPE_CHECKING:
    from grela.live.settings import Settings


@click.command(short_help="Serve a run over HTTP: log events, recommend after each.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--store", help="Where events are kept: a file, or redis://HOST. [default: RUN/events.sqlite]")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Beyond loopback a bearer token is needed."
)
@click.option("--port", type=int, default=8000, show_default=True, help="0: any free one.")
@click.option(
    "--workers", type=int, default=1, show_default=True, help="Processes; each follows users of its own."
)
@click.option(
    "--memory", type=int, default=512, show_default=True, help="MB of states, all workers together."
)
@click.option(
    "--rate", type=float, help="Requests a second for each client address and worker. [default: any]"
)
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="File with the bearer token (or GRELA_TOKEN)."
)
@click.option(
    "--durable/--not-durable",
    default=True,
    show_default=True,
    help="Whether an event is on the disk when it is acknowledged, safe from a loss of power too.",
)
@click.option(
    "--compact", is_flag=True, help="First write the store anew: what was deleted is in no file then."
)
def serve(
    run: Path,
    store: str | None,
    host: str,
    port: int,
    workers: int,
    memory: int,
    rate: float | None,
    token_file: Path | None,
    durable: bool,
    compact: bool,
) -> None:
    """Serve RUN, a folder that `grela fit` wrote, until interrupted.

    \b
    grela serve runs/ml-100k
    curl -s localhost:8000/events -H 'Content-Type: application/json' \\
        -d '{"events": [{"user": 196, "item": 50}], "recommend": {"k": 5}}'

    The first time, the run's histories are imported into the store, which is the truth from then on, also under
    later models. docs/service.md says what is guaranteed.
    """
    settings = _settings(
        run=run,
        store=store or str(run / "events.sqlite"),
        host=host,
        port=port,
        workers=workers,
        memory=memory * 1_000_000,
        rate=rate,
        token_file=token_file,
        durable=durable,
        compact=compact,
    )
    try:
        from grela.live.running import run_service
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}: the service needs the extra, pip install 'grela[serve]'") from error
    logging.basicConfig(level=logging.WARNING, format="grela: %(message)s", stream=sys.stderr)
    run_service(settings, say=click.echo, progress=_Progress())


def _settings(**values: object) -> "Settings":
    from grela.live.settings import Settings

    return Settings(**values)  # type: ignore[arg-type]


class _Progress:
    """A line at the beginning of the import of histories, at its end, and every few seconds between."""

    SECONDS = 5.0

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, done: int, users: int) -> None:
        now = time.monotonic()
        if now >= self._next or done == users:
            say(f"importing the run's histories into the store: {done:,} of {users:,} users")
            self._next = now + self.SECONDS
