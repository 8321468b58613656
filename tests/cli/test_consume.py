"""`grela consume` as a process of its own, on the client library's mock broker."""

import json
import signal
from contextlib import closing

import pytest
from cli_cases import command

from grela.store.sqlite import SqliteStore

confluent_kafka = pytest.importorskip(
    "confluent_kafka", reason="confluent-kafka is not installed: pip install 'grela[kafka]'"
)


@pytest.fixture
def producer():
    """Holds the broker too, as long as it lives."""
    return confluent_kafka.Producer({"test.mock.num.brokers": 1, "log_level": 2})


def brokers(producer) -> str:
    return ",".join(f"{one.host}:{one.port}" for one in producer.list_topics(timeout=10).brokers.values())


def test_it_logs_until_interrupted_and_says_what_it_rejected(fitted_run, tmp_path, producer):
    item = "500"
    for value in (
        json.dumps({"user": "new", "item": item}),
        "?",
        json.dumps({"user": "new", "item": item, "time": 5}),
    ):
        producer.produce("events", value, partition=0)
    assert producer.flush(10) == 0
    settings = tmp_path / "settings"
    settings.write_text("# of librdkafka\n\nclient.id = test = 1\nlog_level=2\n", encoding="utf-8")
    store, rejected = tmp_path / "events.store", tmp_path / "rejected.jsonl"
    options = {"--topic": "events", "--store": store, "--rejected": rejected, "--settings": settings}
    arguments = [part for pair in options.items() for part in pair]
    process = command("consume", fitted_run, "--brokers", brokers(producer), *arguments)
    said = [process.stderr.readline(), process.stderr.readline()]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert "following events at 127.0.0.1" in said[0]
    assert said[1].startswith("rejected events/0/1: the value is no JSON")
    assert (out, err, process.returncode) == (
        "2 events logged, 0 were there before, 1 messages rejected\n",
        "",
        0,
    )
    with closing(SqliteStore(store)) as log:
        first, second = log.read("new").events
    assert (first.item, first.id, second.time) == (item, "events/0/0", 5)
    assert first.time > 1_600_000_000
    assert json.loads(rejected.read_text())["offset"] == 1


def test_a_bad_line_of_settings_is_named_but_not_shown(grela, fitted_run, tmp_path):
    settings = tmp_path / "settings"
    settings.write_text("a=b\nsasl.password s3cret\n", encoding="utf-8")
    store = ("--store", tmp_path / "events.store")
    found = grela("consume", fitted_run, "--brokers", "x:1", "--topic", "t", "--settings", settings, *store)
    assert found.code == 2
    assert "line 2 has no '='" in found.err
    assert "s3cret" not in found.err
    missing = ("--settings", tmp_path / "none")
    assert (
        "cannot read"
        in grela("consume", fitted_run, "--brokers", "x:1", "--topic", "t", *missing, *store).err
    )


def test_a_folder_that_is_no_run_is_said(grela, tmp_path):
    found = grela("consume", tmp_path, "--brokers", "x:1", "--topic", "t")
    assert found.code == 1
    assert "is not a run folder" in found.err
