"""Many writers at once: in threads, in processes, on one store."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from store_cases import Follower, event, log, python

from grela.store.protocol import Append


def test_threads_that_write_for_one_user_lose_nothing_and_agree(store):
    followers = [Follower() for _ in range(4)]

    def write(number: int) -> None:
        for n in range(50):
            tail = log(store, "u", event(f"{number}.{n}", n), known=followers[number].position).tail
            followers[number].fold(tail)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    for follower in followers:
        follower.fold(store.read("u", follower.position))
    assert all(one.events == followers[0].events for one in followers)
    found = [one.item for one in followers[0].events]
    assert len(found) == 200
    for number in range(4):
        assert [item for item in found if item.startswith(f"{number}.")] == [
            f"{number}.{n}" for n in range(50)
        ]


def test_readers_see_whole_batches_while_a_writer_writes(store):
    """A batch of two users is there for both or for none, whoever is read first."""
    stop = False

    def write() -> None:
        for n in range(100):
            store.append([Append("a", (event(n),)), Append("b", (event(n),))])

    def read() -> None:
        while not stop:
            first, second = (store.read(user).position.seq for user in ("b", "a"))
            assert first <= second <= 100

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        threads.submit(write).result()
        stop = True
        for reader in readers:
            reader.result()


def test_one_id_sent_by_all_threads_at_once_is_logged_once(store):
    def write(number: int) -> int:
        return sum(log(store, "u", event(number, 0, f"id {n}")).added[0] for n in range(50))

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(write, range(4))) == 50
    assert sorted(one.id for one in store.read("u").events) == sorted(f"id {n}" for n in range(50))


def test_processes_that_write_for_the_same_users_lose_and_double_nothing(open_store, store_address):
    writers = [python("writing_script.py", store_address, name, 0, 150, 3) for name in ("a", "b", "c")]
    said = [writer.communicate(timeout=60) for writer in writers]
    assert [errors for _, errors in said] == ["", "", ""]
    store = open_store()
    for user in range(3):
        names = [one.id for one in store.read(f"user {user}").events]
        for writer in ("a", "b", "c"):
            mine = [name for name in names if name.startswith(f"{writer}/")]
            assert mine == [f"{writer}/{n}" for n in range(user, 150, 3)]
        assert len(names) == 150


def logged_of(store) -> list[int]:
    names = [one.id for user in range(7) for one in store.read(f"user {user}").events]
    return sorted(int(name.removeprefix("w/")) for name in names)


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_what_was_acknowledged_is_there_once_whenever_the_writer_is_killed(open_store, store_address, kills):
    draw, acknowledged = random.Random(kills), 0
    for _ in range(kills):
        writer = python("writing_script.py", store_address, "w", acknowledged, 10**6, 7)
        said = [writer.stdout.readline() for _ in range(draw.randrange(1, 30))]
        assert said[0] == "ready\n"
        time.sleep(draw.uniform(0, 0.003))
        writer.kill()
        # Not by `communicate`, which misses lines that `readline` has taken from the pipe already.
        rest, errors = writer.stdout.read(), writer.stderr.read()
        writer.communicate()
        assert errors == ""
        # A line that the kill cut short was not said.
        lines = [line for line in [*said[1:], *rest.splitlines(keepends=True)] if line.endswith("\n")]
        assert [int(line.split()[0]) for line in lines] == [acknowledged + n for n in range(len(lines))]
        acknowledged += len(lines)
        # Each once, without holes; the one under way may be there or not, and is sent again by the next writer.
        with closing(open_store()) as store:
            assert logged_of(store) in (list(range(acknowledged)), list(range(acknowledged + 1)))


def test_a_killed_writer_holds_up_nobody(open_store, store_address):
    writer = python("writing_script.py", store_address, "w", 0, 10**6, 1)
    for _ in range(10):
        writer.stdout.readline()
    store = open_store()
    writer.kill()
    writer.communicate()
    assert log(store, "user 0", event(1)).added == (True,)
