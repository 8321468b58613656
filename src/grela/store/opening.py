"""A store by its address: the path of a file, or the URL of a server."""

import re

from grela.store.protocol import Store
from grela.store.sqlite import SqliteStore

_SERVER = re.compile(r"(redis|rediss|unix)://")


def open_store(address: str, *, durable: bool = True) -> Store:
    """The store at `address`: `redis://`, `rediss://` or `unix://` is a Redis or Valkey server's, all else a file's.

    durable: whether an append is on the disk when it returns (see `SqliteStore` and `RedisStore`).
    Raises StoreError if it cannot be opened.
    """
    if _SERVER.match(address):
        from grela.store.redis import RedisStore

        return RedisStore(address, durable=durable)
    return SqliteStore(address, durable=durable)
