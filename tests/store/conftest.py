"""The stores that all laws are checked on; Redis is skipped visibly where there is no server program."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from grela.store.memory import MemoryStore
from grela.store.opening import open_store as open_store_at
from redis_cases import empty_database


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
        return empty_database(request.getfixturevalue("redis_url"))

    return find


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
