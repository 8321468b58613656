"""One process of the service: engine, HTTP and, with other workers, their questions."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import uvicorn
import uvloop

from grela.errors import ServiceError
from grela.live.app import Application
from grela.live.guard import Guard
from grela.live.loading import change_items, load_served
from grela.live.peers import Link, PeerSide
from grela.live.rate import Rate
from grela.live.served import Served
from grela.live.service import Service
from grela.live.settings import Settings
from grela.live.token import read_token
from grela.store.opening import open_store

# Seconds in which requests under way may end once the service is told to.
GRACE = 10
# Two threads of Python take turns; by default one that wants its turn may wait 5 ms, all that a request should take.
TURN_SECONDS = 0.0005


@dataclass(frozen=True)
class Place:
    """A worker among others: its number, how many there are, and the folder of their sockets.

    drained: awaited when this worker has answered all, until the others have too
    """

    number: int
    workers: int
    sockets: Path
    drained: Callable[[], Awaitable[None]]

    def socket_of(self, number: int) -> Path:
        """Where a worker listens for the others."""
        return self.sockets / f"{number}.sock"


def serve(
    settings: Settings,
    listening: socket.socket,
    served: Served,
    started: Callable[[], None],
    place: Place | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and return when all is answered and saved.

    started: called once requests are answered
    """
    sys.setswitchinterval(TURN_SECONDS)
    _keep_from_collector()
    torch.set_num_threads(1)
    # uvicorn raises the signal again when it has ended; nothing is left to do by then.
    before = {one: signal.signal(one, lambda *_: None) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, listening, served, started, place))
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


async def _serve(
    settings: Settings,
    listening: socket.socket,
    served: Served,
    started: Callable[[], None],
    place: Place | None,
) -> None:
    token = read_token(settings, os.environ)
    store = open_store(settings.store, durable=settings.durable)
    links: list[Link | None] = [None]
    if place is not None:
        links = [None if n == place.number else Link(place.socket_of(n)) for n in range(place.workers)]
    service = Service(
        store,
        served,
        load=lambda: _loaded_again(settings.run),
        change=lambda change: change_items(settings.run, change),
        links=links,
        memory=max(1, settings.memory // len(links)),
        limits=settings.limits,
    )
    others = None if place is None else await _answer_others(service, place)
    app = Guard(
        Application(service, None if place is None else place.drained),
        measures=service.measures,
        token=token,
        rate=None if settings.rate is None else Rate(settings.rate),
    )
    config = uvicorn.Config(
        app,
        lifespan="on",
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)
    telling = asyncio.create_task(_tell(server, started))
    try:
        await server.serve(sockets=[listening])
    finally:
        telling.cancel()
        if others is not None:
            others.close()


def _keep_from_collector() -> None:
    """Have the garbage collector pass over what there is: looking at all that was imported takes it 100 ms."""
    gc.collect()
    gc.freeze()


def _loaded_again(run: Path) -> Served:
    """A model anew; garbage of the one before last is collected meanwhile."""
    gc.unfreeze()
    served = load_served(run)
    _keep_from_collector()
    return served


async def _tell(server: uvicorn.Server, started: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    started()


async def _answer_others(service: Service, place: Place) -> asyncio.Server:
    path = place.socket_of(place.number)
    path.unlink(missing_ok=True)  # of a worker that died here
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: PeerSide(service.for_another), str(path))


def listen(settings: Settings, *, alone: bool) -> socket.socket:
    """A socket bound to the service's address; workers have one each. ServiceError where it is not to be had."""
    bound = None
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not alone:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        if bound is not None:
            bound.close()
        raise ServiceError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; give another --host "
            "or --port"
        ) from error
    return bound
