"""The server of a Redis store: connecting, whether it keeps what it acknowledges, and what its errors say."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from grela.errors import ConfigError, StoreError

FORMAT = b"1"
ANSWER_SECONDS = 60.0

# What a server must say of a setting so that what it has acknowledged survives its death and a loss of power.
_DURABLE = {
    "appendonly": ("yes",),
    "appendfsync": ("always",),
    "no-appendfsync-on-rewrite": ("no",),
    # Keys here never expire, so that policies for keys that do take none of them.
    "maxmemory-policy": ("noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
}


def connect(url: str) -> Any:
    """A client that sends nothing twice; ConfigError without redis-py, StoreError for a bad URL."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigError(
            f"this store needs redis-py, which is not installed ({error}): `pip install 'grela[redis]'`"
        ) from error
    try:
        # An append whose answer was lost may have been logged, and only its sender knows whether it has ids.
        return Redis.from_url(
            url, retry=Retry(NoBackoff(), 0), socket_timeout=ANSWER_SECONDS, socket_connect_timeout=10.0
        )
    except (ValueError, TypeError):
        # Neither the URL nor what was said of it goes on: a password may be in both.
        raise StoreError(
            "the store's URL cannot be read, expected redis://[[user]:password@]host:port/db, rediss://... or "
            "unix:///path; write special characters of a password as %XX"
        ) from None


def label(client: Any) -> str:
    """Where the server is, without user and password."""
    given = client.connection_pool.connection_kwargs
    place = given.get("path") or f"{given.get('host', 'localhost')}:{given.get('port', 6379)}"
    return f"{place}/{given.get('db', 0)}"


@contextmanager
def stated(where: str) -> Iterator[None]:
    """The client's and the server's errors as StoreError that says what to do."""
    from redis import exceptions

    try:
        yield
    except exceptions.AuthenticationError as error:
        raise StoreError(f"the store at {where} refuses this user or password; see to its URL") from error
    except exceptions.OutOfMemoryError as error:
        raise StoreError(
            f"the store at {where} has no memory left; nothing of this call was logged; raise its maxmemory"
        ) from error
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        raise StoreError(
            f"the store at {where} cannot be reached ({error}); what was being appended may have been logged or "
            "not: send it again with the same ids"
        ) from error
    except exceptions.RedisError as error:
        raise StoreError(f"the store at {where} says: {error}; see to the server") from error


def must_be_durable(client: Any, where: str) -> None:
    """StoreError unless the server's settings keep what it acknowledges."""
    from redis import exceptions

    for name, expected in _DURABLE.items():
        try:
            got = client.config_get(name).get(name)
        except exceptions.ResponseError as error:
            raise StoreError(
                f"the store at {where} does not say its {name} ({error}), so whether it keeps what it acknowledges "
                "is unknown: let this user run CONFIG GET, or open the store as not durable"
            ) from error
        if got not in expected:
            raise StoreError(
                f"the store at {where} loses acknowledged events: its {name} is {got!r}, expected "
                f"{expected[0]!r}; set it in the server's configuration, or open the store as not durable"
            )


def must_be_ours(client: Any, where: str, key: str) -> None:
    """Claim the prefix, or find that it is a store of this version; StoreError otherwise."""
    client.set(key, FORMAT, nx=True)
    got = client.get(key)
    if got != FORMAT:
        raise StoreError(
            f"{key} at {where} is {got!r}, this version of grela reads {FORMAT!r}: give another prefix, or use "
            "the version that made it"
        )


def rewrite_files(client: Any, where: str) -> None:
    """Have the server write its files anew from what it holds, and wait until it has; StoreError if it cannot."""
    info = _idle(client)
    if info["aof_enabled"]:
        client.bgrewriteaof()
        info = _idle(client)
        if info["aof_last_bgrewrite_status"] != "ok":
            raise StoreError(f"the store at {where} could not rewrite its log; see the server's own log")
    if client.config_get("save").get("save"):
        client.bgsave()
        info = _idle(client)
        if info["rdb_last_bgsave_status"] != "ok":
            raise StoreError(f"the store at {where} could not rewrite its snapshot; see the server's own log")


def _idle(client: Any) -> dict[str, Any]:
    """`INFO persistence` of a server that is writing no file."""
    busy = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
    while True:
        info: dict[str, Any] = client.info("persistence")
        if not any(info[name] for name in busy):
            return info
        time.sleep(0.01)
