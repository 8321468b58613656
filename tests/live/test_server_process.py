"""A real server: killed under load it forgets and doubles nothing; changed under load; ended in order."""

import copy
import os
import random
import shutil
import signal
import subprocess
import threading
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
from live_cases import AFTER_LOG, ITEMS, USERS, Forked, Server, serving, wait_for

from fit_cases import fitted, history_of, times_of
from grela.errors import RefusedError, ServiceError
from grela.live.client import Client
from grela.store.opening import open_store
from grela.store.protocol import Append, NewEvent
from redis_cases import empty_database

WRITERS, PAUSE = 3, 0.1


@dataclass
class Writer(threading.Thread):
    """Sends events of users of its own, each with an id, and keeps those that were acknowledged, in order.

    A request without an answer is sent again by the client, with the same ids, until it has one.
    """

    url: str
    number: int
    began: int = AFTER_LOG
    acknowledged: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        rng, time = random.Random(self.number), self.began
        with Client(self.url, patience=120, sleep=lambda seconds: sleep(min(seconds, 0.05))) as client:
            while not self.stop.is_set():
                time += rng.choice((0, 7, 3_600))
                late = rng.random() < 0.05
                users = rng.sample(USERS[self.number :: WRITERS], rng.choice((1, 1, 1, 3)))
                events = [
                    {"user": user, "item": rng.choice(ITEMS), "time": time - late * 100_000_000}
                    for user in users
                ]
                try:
                    client.send(events, {"k": 5} if rng.random() < 0.5 else None)
                except (RefusedError, ServiceError) as error:
                    self.errors.append(error)
                    return
                for event in events:
                    self.acknowledged.setdefault(event["user"], []).append((event["item"], event["time"]))


def loaded(url: str, began: int = AFTER_LOG) -> list[Writer]:
    writers = [Writer(url, number, began) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    return writers


def count(writers: list[Writer]) -> int:
    """How many events were acknowledged."""
    return sum(len(events) for writer in writers for events in list(writer.acknowledged.values()))


def ended(writers: list[Writer]) -> dict[str, list[tuple[str, int]]]:
    """What was acknowledged of each user, in order."""
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join(120)
        assert not writer.errors
        assert not writer.is_alive()
    found: dict[str, list[tuple[str, int]]] = {}
    for writer in writers:
        for user, events in writer.acknowledged.items():
            found.setdefault(user, []).extend(events)
    return found


def check_every_user(server: Server | Forked, acknowledged: dict[str, list[tuple[str, int]]]) -> None:
    """`check_user` for each user of the run."""
    with server.client() as client:
        for user in USERS:
            check_user(client, user, acknowledged.get(user, []))


def check_user(client: Client, user: str, acknowledged: list[tuple[str, int]]) -> None:
    """The history is the run's and what was acknowledged since, and the list that of a recompute from it."""
    past = [(str(i), t) for i, t in zip(history_of(int(user)), times_of(int(user)), strict=True)]
    events = sorted([*past, *acknowledged], key=lambda event: event[1])
    got = {one["item"]: one["score"] for one in client.recommend(user, k=20)}
    shown = client.history(user, limit=10_000)
    assert shown["length"] == len(events)
    assert [(one["item"], one["time"]) for one in shown["events"]] == events
    (expected,) = fitted().recommend([[i for i, _ in events]], times=[[t for _, t in events]], k=20)
    scores = {str(one.item): one.score for one in expected.items}
    assert got.keys() == scores.keys()
    np.testing.assert_allclose([got[i] for i in scores], list(scores.values()), rtol=1e-3, atol=1e-3)


def kill_often(run, tmp_path, kills: int) -> None:
    rng, port = random.Random(kills), 0
    where = {"run": run, "store": str(tmp_path / "events.sqlite")}
    server = Forked(**where, port=port)
    port = int(server.url.rpartition(":")[2])
    writers = loaded(server.url)
    for _ in range(kills):
        before = count(writers)
        wait_for(lambda before=before: count(writers) >= before + 2 * WRITERS)
        sleep(rng.uniform(0, PAUSE))  # so that a kill may come at any moment of a cycle
        server.kill()
        server = Forked(**where, port=port)
    try:
        acknowledged = ended(writers)
        check_every_user(server, acknowledged)
        assert server.end() == 0
        # Saved states answer as the ones in memory did.
        server = Forked(**where, port=port)
        check_every_user(server, acknowledged)
    finally:
        server.kill()


def test_killed_ten_times_it_has_all_that_it_acknowledged_and_nothing_twice(saved_run, tmp_path):
    kill_often(saved_run, tmp_path, 10)


@pytest.mark.slow
def test_killed_a_hundred_times_it_has_all_that_it_acknowledged_and_nothing_twice(saved_run, tmp_path):
    kill_often(saved_run, tmp_path, 100)


def workers_of(server: Server) -> list[int]:
    """Process ids of the workers."""
    found = subprocess.run(
        ["pgrep", "-f", "spawn_main", "-P", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in found.stdout.split()]


def test_two_workers_serve_as_one_and_one_that_dies_is_started_again(saved_run, tmp_path):
    with serving(saved_run, "--store", tmp_path / "events.sqlite", "--workers", 2, "--memory", 1) as server:
        writers = loaded(server.url)
        with server.client() as client:
            sleep(1)
            for _ in range(2):
                wait_for(lambda: len(workers_of(server)) == 2)
                os.kill(random.choice(workers_of(server)), signal.SIGKILL)
                wait_for(client.ready)
            events = [{"user": f"new {n}", "item": 505} for n in range(20)]
            answer = client.send(events, {"k": 2})
            assert [one["user"] for one in answer["results"]] == [one["user"] for one in events]
            assert all(len(listed) == 2 for listed in answer["recommendations"].values())
            assert len({len(answer["recommendations"])} | {20}) == 1
            before = client.reload()
            assert before == client.reload()
            numbers = urllib.request.urlopen(server.url + "/metrics").read().decode()
            assert 'grela_states{worker="0"}' in numbers
            assert 'grela_states{worker="1"}' in numbers
            acknowledged = ended(writers)
            check_every_user(server, acknowledged)
        pids = workers_of(server)
        assert server.end() == 0
        wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_model_is_changed_under_load_and_none_waits_for_it(saved_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(saved_run, run)
    with serving(run, "--store", tmp_path / "events.sqlite") as server, server.client() as client:
        writers = loaded(server.url)
        first = client.reload()
        other_weights(run)
        second = client.reload()
        assert first != second
        shutil.rmtree(run)
        with pytest.raises(RefusedError, match="the model was not changed") as refused:
            client.reload()
        assert refused.value.status == 409
        shutil.copytree(saved_run, run)
        assert client.reload() == first
        check_every_user(server, ended(writers))
        assert server.end() == 0


def other_weights(run) -> None:
    """The same run with other weights."""
    other = copy.copy(fitted())
    other.model = copy.deepcopy(fitted().model)
    with torch.no_grad():
        other.model.embedding.weight += 0.01
    other.save(run)


def test_a_deleted_user_is_in_no_file_once_the_store_is_compacted(saved_run, tmp_path):
    where = {"run": saved_run, "store": str(tmp_path / "events.sqlite")}
    server = Forked(**where, port=0)
    with server.client() as client:
        client.send([{"user": "Ottokar the one", "item": 505, "id": "the very first"}] * 3)
        assert client.delete("Ottokar the one") == 1
    assert server.end() == 0
    server = Forked(**where, port=0, compact=True)
    with server.client() as client:
        assert client.history("100")["length"] == 12
        assert client.history("Ottokar the one")["length"] == 0
    assert server.end() == 0
    for path in tmp_path.iterdir():
        assert b"Ottokar" not in path.read_bytes()
        assert b"the very first" not in path.read_bytes()


def test_the_first_line_says_what_is_served(saved_run, tmp_path):
    store = tmp_path / "events.sqlite"
    with serving(saved_run, "--store", store) as server:
        assert f"store {store}" in server.line
        assert "(20 items)" in server.line


@pytest.fixture(params=["sqlite", "redis"])
def store_address(request, tmp_path) -> str:
    """A store that several services may have."""
    if request.param == "redis":
        return empty_database(request.getfixturevalue("redis_url"))
    return str(tmp_path / "events.sqlite")


def test_services_on_one_store_follow_each_other_and_whoever_else_logs(saved_run, store_address):
    with (
        serving(saved_run, "--store", store_address) as one,
        serving(saved_run, "--store", store_address) as other,
        one.client() as first,
        other.client() as second,
        closing(open_store(store_address)) as store,
    ):
        logged: list[tuple[str, int]] = []
        for number, item in enumerate(ITEMS[:9]):
            time = AFTER_LOG + number
            if number % 3 == 2:
                store.append([Append("100", (NewEvent(item, time),))])
            else:
                (first, second)[number % 3].send([{"user": "100", "item": item, "time": time}])
            logged.append((item, time))
            for client in (first, second):
                check_user(client, "100", logged)


def test_writers_of_two_services_lose_nothing(saved_run, store_address):
    """Each user's events come to both services at once, at times that the two never have in common."""
    with (
        serving(saved_run, "--store", store_address) as one,
        serving(saved_run, "--store", store_address) as other,
    ):
        writers = loaded(one.url) + loaded(other.url, AFTER_LOG + 200_000_000)
        wait_for(lambda: count(writers) >= 60)
        acknowledged = ended(writers)
        for server in (one, other):
            check_every_user(server, acknowledged)
