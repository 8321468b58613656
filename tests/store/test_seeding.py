"""The import of histories: once, whole, and from where it was interrupted."""

import itertools
import tracemalloc

import pytest
from store_cases import event, items, log

from grela.errors import EventError, StoreError
from grela.store import seeding
from grela.store.seeding import seed_in_blocks


def histories(users: int = 30, events: int = 7):
    """A fresh iterator over the same histories."""
    return ((f"u{user}", [event(user * 100 + n, n) for n in range(user % events)]) for user in range(users))


TOTAL = sum(len(events) for _, events in histories())


def check(store) -> None:
    assert store.seeded() == "fp"
    for user, events in histories():
        assert items(store.read(user)) == [one.item for one in events]
    assert sorted(store.users()) == sorted(user for user, events in histories() if events)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(seeding, "BLOCK_EVENTS", 10)


def test_histories_are_imported_once(store):
    assert store.seeded() is None
    assert store.seed("fp", histories()) == TOTAL
    check(store)
    assert store.seed("fp", histories()) == 0
    check(store)


def test_the_end_of_the_last_block_is_the_end_of_the_import(store):
    assert store.seed("none", iter(())) == 0
    assert store.seeded() == "none"


@pytest.mark.parametrize("users", [1, 2, 5, 13, 29, 30])
def test_an_interrupted_import_goes_on_where_it_was(store, users):
    def broken():
        yield from itertools.islice(histories(), users)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.seed("fp", broken())
    assert store.seeded() is None
    first = sum(len(store.read(user).events) for user in store.users())
    assert store.seed("fp", histories()) == TOTAL - first
    check(store)


def test_live_events_may_come_before_the_import_and_during_it(store):
    log(store, "u3", event("live", 1000))

    def with_writer():
        for user, events in histories():
            yield user, events
            log(store, user, event("live", 1000))

    with pytest.raises(ZeroDivisionError):
        store.seed("fp", (1 / (number - 20) and one for number, one in enumerate(with_writer())))
    store.seed("fp", histories())
    for user, events in histories():
        found = [item for item in items(store.read(user)) if item != "live"]
        assert found == [one.item for one in events]


def test_two_imports_at_once_share_the_work(store):
    """Each gives a block when the other has just given one."""
    logged = []

    def interleaved():
        for number, one in enumerate(histories()):
            if number == 12:
                logged.append(store.seed("fp", histories()))
            yield one

    logged.append(store.seed("fp", interleaved()))
    assert sum(logged) == TOTAL
    assert min(logged) > 0
    check(store)


def test_histories_of_another_fingerprint_are_refused(store):
    store.seed("fp", histories())
    with pytest.raises(StoreError, match=r"has the histories fp, not other"):
        store.seed("other", histories())
    check(store)


def test_an_unfinished_import_of_another_fingerprint_is_named(store):
    def broken():
        yield from itertools.islice(histories(), 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.seed("fp", broken())
    with pytest.raises(StoreError, match=r"has 1. users of an unfinished import of the histories fp"):
        store.seed("other", histories())


def test_what_cannot_be_logged_is_named_by_its_user(store):
    with pytest.raises(EventError, match=r"user 1 of the histories, event 0: the time is nan"):
        store.seed("fp", [("a", [event(1)]), ("b", [event(1, float("nan"))])])


def test_memory_holds_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(seeding, "BLOCK_EVENTS", 500)
    seen = 0

    def commit(block):
        nonlocal seen
        seen += len(block.histories)
        return sum(len(events) for _, events in block.histories)

    many = ((f"u{user}", [event(n, n) for n in range(100)]) for user in range(300))
    tracemalloc.start()
    assert seed_in_blocks("fp", many, commit) == 30_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == 300
    # Two blocks of 600 events of about 150 bytes each; all histories would be 4.5 MB.
    assert peak < 500_000
