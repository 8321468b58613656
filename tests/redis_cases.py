"""A Redis or Valkey server of a test's own."""

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
SERVERS = ("valkey-server", "redis-server")


def server_program() -> str | None:
    """A Redis or Valkey server of this machine."""
    return next((found for name in SERVERS if (found := shutil.which(name))), None)


@contextmanager
def running_server(folder: Path, *settings: str) -> Iterator[str]:
    """A server of our own whose files are in `folder`, listening on a socket there; yields its URL."""
    with server_process(folder, *settings) as (url, _):
        yield url


@contextmanager
def server_process(folder: Path, *settings: str) -> Iterator[tuple[str, subprocess.Popen]]:
    folder.mkdir(parents=True, exist_ok=True)
    listening = folder / "s"
    listening.unlink(missing_ok=True)
    command = [
        server_program(),
        "--port",
        "0",
        "--unixsocket",
        str(listening),
        "--dir",
        str(folder),
        "--save",
        "",
    ]
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen([*command, *(settings or DURABLE)], stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 20
        while not answers(listening):
            assert process.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < deadline, (folder / "said").read_text()
            time.sleep(0.01)
        yield f"unix://{listening}", process
    finally:
        process.kill()
        process.wait()


def answers(path: Path) -> bool:
    """Whether a server listens there and has read its files; one that asks for a password has."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def empty_database(url: str) -> str:
    """One of the 16 databases of the server at `url`, in turn, with nothing in it."""
    from redis import Redis

    address = f"{url}?db={next(_DATABASES)}"
    with Redis.from_url(address) as client:
        client.flushdb()
    return address


_DATABASES = itertools.cycle(range(16))
