"""Following a topic of the client library's own mock broker, with a real consumer group."""

import json
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from consumer_cases import CATALOGUE, SETTINGS, body

from grela.errors import ConfigError, StoreError, TopicError
from grela.live import kafka
from grela.live.kafka import RejectedFile, connect, follow
from grela.store.memory import MemoryStore
from grela.store.sqlite import SqliteStore

confluent_kafka = pytest.importorskip(
    "confluent_kafka", reason="confluent-kafka is not installed: pip install 'grela[kafka]'"
)
PARTITIONS = 4  # the mock broker's
ALICE = 40
BAD = [b"no json", body("alice", 5000, 1), b"[]"]


class Broker:
    """A cluster of one mock broker, which lives in its producer."""

    def __init__(self) -> None:
        self.producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "log_level": 2})
        found = self.producer.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{one.host}:{one.port}" for one in found)

    def send(self, *values: bytes | None, topic: str = "events", partition: int = 0) -> None:
        for value in values:
            self.producer.produce(topic, value, partition=partition)
        assert self.producer.flush(10) == 0

    def committed(self, group: str = "g") -> dict[int, int]:
        with closing(confluent_kafka.Consumer({"bootstrap.servers": self.address, "group.id": group})) as one:
            parts = [confluent_kafka.TopicPartition("events", part) for part in range(PARTITIONS)]
            return {
                part.partition: part.offset for part in one.committed(parts, timeout=10) if part.offset >= 0
            }


@pytest.fixture
def broker() -> Broker:
    return Broker()


def nothing(rejected) -> None:
    assert rejected == []


def until(count: int, seconds: float = 40):
    """Done once so many messages were seen; a failure after so many seconds."""
    end = time.monotonic() + seconds

    def done(so_far) -> bool:
        assert time.monotonic() < end, so_far
        return so_far.logged + so_far.repeated + so_far.rejected >= count

    return done


def run(broker: Broker, store, count: int, reject=nothing):
    with closing(connect(broker.address, "events", "g", SETTINGS)) as consumer:
        return follow(consumer, store, CATALOGUE, reject=reject, done=until(count))


def test_events_are_logged_in_order_and_bad_messages_are_stated(broker, tmp_path):
    broker.send(*(body("alice", n, n) for n in range(1, ALICE + 1)), partition=1)
    broker.send(body("bob", 7, 7), *BAD, None, body("bob", 8, 8), partition=2)
    store, path = MemoryStore(), tmp_path / "rejected.jsonl"
    with RejectedFile(path) as reject:
        done = run(broker, store, ALICE + 6, reject)
    assert (done.logged, done.repeated, done.rejected) == (ALICE + 2, 0, 4)
    assert [one.item for one in store.read("alice").events] == [str(n) for n in range(1, ALICE + 1)]
    assert [one.id for one in store.read("bob").events] == ["events/2/0", "events/2/5"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["topic"], line["partition"], line["offset"]) for line in lines] == [
        ("events", 2, offset) for offset in (1, 2, 3, 4)
    ]
    assert [line["value"] for line in lines] == [*(one.decode() for one in BAD), None]
    assert "not among the 999 items" in lines[1]["reason"]
    assert broker.committed() == {1: ALICE, 2: 6}
    # The group goes on behind what it has committed.
    broker.send(body("bob", 9, 9), partition=2)
    done = run(broker, store, 1)
    assert (done.logged, done.repeated, done.rejected) == (1, 0, 0)
    assert broker.committed() == {1: ALICE, 2: 7}


def test_a_kill_between_append_and_commit_neither_loses_nor_doubles(broker, tmp_path):
    """What was appended but not committed comes again, and the log knows it."""
    broker.send(*(body("alice", n, n) for n in range(1, ALICE + 1)), b"no json", partition=1)
    path, rejected = tmp_path / "events.store", tmp_path / "rejected.jsonl"
    script = Path(__file__).parent / "consuming_script.py"
    command = [sys.executable, script, broker.address, path, rejected, 1]
    killed = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)
    assert (killed.returncode, killed.stderr) == (-9, "")
    assert broker.committed() == {}
    with closing(SqliteStore(path)) as store:
        before = store.read("alice").position.seq
        assert before > 0
        with RejectedFile(rejected) as reject:
            done = run(broker, store, ALICE + 1, reject)
        assert (done.logged, done.repeated, done.rejected) == (ALICE - before, before, 1)
        assert [one.item for one in store.read("alice").events] == [str(n) for n in range(1, ALICE + 1)]
    assert [json.loads(line)["offset"] for line in rejected.read_text().splitlines()] == [ALICE]
    assert broker.committed() == {1: ALICE + 1}


def test_nothing_is_committed_that_could_not_be_logged(broker):
    class Full(MemoryStore):
        def append(self, batch):
            raise StoreError("the disk is full")

    broker.send(body("alice", 1, 1))
    with pytest.raises(StoreError, match=r"the disk is full"):
        run(broker, Full(), 1)
    assert broker.committed() == {}


def test_nothing_is_committed_whose_rejection_could_not_be_kept(broker):
    def full(rejected) -> None:
        raise TopicError("cannot write rejected messages")

    broker.send(b"no json")
    with pytest.raises(TopicError, match=r"cannot write"):
        run(broker, MemoryStore(), 1, full)
    assert broker.committed() == {}


@pytest.mark.slow
def test_two_members_of_a_group_share_a_topic_and_lose_and_double_nothing(broker, monkeypatch):
    """One joins while the other is at work and leaves again, so that partitions move twice."""
    monkeypatch.setattr(kafka, "BATCH", 5)
    store, stop = MemoryStore(), threading.Event()
    sent = 0

    def member() -> None:
        with closing(connect(broker.address, "events", "g", SETTINGS)) as consumer:
            follow(consumer, store, CATALOGUE, reject=nothing, done=lambda _: stop.is_set())

    first = threading.Thread(target=member)
    end = time.monotonic() + 12
    while time.monotonic() < end:
        broker.send(
            *(body(f"u{part}", 1 + sent % 900, sent) for part in range(PARTITIONS)),
            partition=sent % PARTITIONS,
        )
        sent += 1
        if sent == 1:  # the first message makes the topic
            first.start()
        if sent == 20:
            second = threading.Thread(target=member)
            second.start()
        time.sleep(0.05)
    deadline = time.monotonic() + 60
    while sum(store.read(f"u{part}").position.seq for part in range(PARTITIONS)) < PARTITIONS * sent:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    stop.set()
    first.join()
    second.join()
    for part in range(PARTITIONS):
        assert sorted(one.time for one in store.read(f"u{part}").events) == list(range(sent))
    assert sum(broker.committed().values()) == PARTITIONS * sent


def test_settings_that_following_rests_on_are_refused(broker):
    with pytest.raises(ConfigError, match=r"enable.auto.commit cannot be given"):
        connect(broker.address, "events", "g", {"enable.auto.commit": "true"})
    with pytest.raises(ConfigError, match=r"No such configuration property"):
        connect(broker.address, "events", "g", {"no.such": "1"})


def test_brokers_and_topics_that_are_not_there_are_said(broker, monkeypatch):
    monkeypatch.setattr(kafka, "CONNECT_SECONDS", 0.5)
    with pytest.raises(TopicError, match=r"no broker answers at 127.0.0.1:1"):
        connect("127.0.0.1:1", "events", "g", {"log_level": "0"})


def test_without_the_extra_it_says_what_to_install():
    script = (
        "import sys; sys.modules['confluent_kafka'] = None\n"
        "from grela.live.kafka import connect\n"
        "connect('a', 'b', 'c', {})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "pip install 'grela[kafka]'" in done.stderr
