"""The stores that all laws are checked on; Redis is skipped visibly where there is no server program."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from store_cases import running_server, server_program

from grela.store.memory import MemoryStore
from grela.store.opening import open_store as open_store_at


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory) -> Iterator[str]:
    """A durable server for this session."""
    pytest.importorskip("redis", reason="redis-py is not installed: pip install 'grela[redis]'")
    if server_program() is None:
        pytest.skip("no valkey-server or redis-server on this machine")
    with running_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def opened() -> Iterator[Callable]:
    """Closes at the end of the test what was opened with it."""
    stores = []

    def keep(store):
        stores.append(store)
        return store

    yield keep
    for store in stores:
        store.close()


@pytest.fixture
def address(request, tmp_path) -> Callable[[str], str]:
    """Where an empty store of a kind is to be opened."""
    numbers = itertools.count()

    def find(kind: str) -> str:
        if kind == "sqlite":
            return str(tmp_path / f"events{next(numbers)}.store")
        url = f"{request.getfixturevalue('redis_url')}?db={next(_databases)}"
        from redis import Redis

        with Redis.from_url(url) as client:
            client.flushdb()
        return url

    return find


_databases = itertools.cycle(range(16))


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request, address, opened):
    """An empty store of each kind."""
    return opened(MemoryStore() if request.param == "memory" else open_store_at(address(request.param)))


@pytest.fixture(params=["sqlite", "redis"])
def store_address(request, address) -> str:
    """The address of an empty store of each kind that outlives its process."""
    return address(request.param)


@pytest.fixture
def open_store(store_address, opened) -> Callable:
    """Opens that store, each time anew."""
    return lambda: opened(open_store_at(store_address))
