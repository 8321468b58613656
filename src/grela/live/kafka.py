"""Events from a Kafka topic into the log (extra `kafka`): at least once from the topic, exactly once in the log.

A batch of messages is appended, then its rejected messages are kept, then its offsets are committed. Whatever ends the
process between two of these, the next one reads the batch again, and the ids of the events make the log the same.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from grela.errors import ConfigError, RefusedError, TopicError
from grela.live.messages import Catalogue, Message
from grela.store.protocol import Append, EventLog

BATCH = 500
POLL_SECONDS = 0.5
CONNECT_SECONDS = 15.0

# What following a topic rests on, and so cannot be set otherwise.
_OURS = (
    "bootstrap.servers",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that is no event, and why."""

    message: Message
    reason: str


@dataclass(slots=True)
class Followed:
    """What became of the messages read: logged, there before (`repeated`), or rejected."""

    logged: int = 0
    repeated: int = 0
    rejected: int = 0


class RejectedFile(AbstractContextManager["RejectedFile"]):
    """Rejected messages as lines of JSON, synced; after a kill a message may be there twice, known by its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise TopicError(f"cannot write rejected messages to {path}: {error.strerror}") from error

    def __call__(self, rejected: Sequence[Rejected]) -> None:
        try:
            for one in rejected:
                self._file.write(json.dumps(_line(one)) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TopicError(f"cannot write rejected messages to {self._path}: {error.strerror}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def connect(brokers: str, topic: str, group: str, settings: Mapping[str, str]) -> Any:
    """A consumer of the topic as a member of the group; settings are librdkafka's.

    Raises ConfigError without confluent-kafka or for bad settings, TopicError without brokers or topic.
    """
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise ConfigError(
            f"topics need confluent-kafka, which is not installed ({error}): `pip install 'grela[kafka]'`"
        ) from error
    taken = [name for name in _OURS if name in settings]
    if taken:
        raise ConfigError(f"the setting {taken[0]} cannot be given, leave it out")
    ours = {
        "bootstrap.servers": brokers,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
    }
    try:
        consumer = Consumer({**settings, **ours})
    except KafkaException as error:
        raise ConfigError(f"these settings will not do: {_reason(error)}") from error
    try:
        _must_be_there(consumer, brokers, topic)
        consumer.subscribe([topic])
    except BaseException:
        consumer.close()
        raise
    return consumer


def follow(
    consumer: Any,
    log: EventLog,
    catalogue: Catalogue,
    *,
    reject: Callable[[Sequence[Rejected]], None],
    done: Callable[[Followed], bool],
) -> Followed:
    """Log what comes until `done` says so, which is asked after each batch and each half second without one.

    reject: keeps messages that are no events, before their offsets are committed
    Raises StoreError where the log cannot be written and TopicError where the topic cannot be read; nothing is
    committed that was not logged.
    """
    so_far = Followed()
    while not done(so_far):
        messages = [_message(one) for one in consumer.consume(BATCH, POLL_SECONDS)]
        if not messages:
            continue
        events, rejected = sorted_out(messages, catalogue)
        added = [new for one in log.append(events) for new in one.added]
        if rejected:
            reject(rejected)
        _commit(consumer, messages)
        so_far.logged += sum(added)
        so_far.repeated += len(added) - sum(added)
        so_far.rejected += len(rejected)
    return so_far


def sorted_out(messages: Iterable[Message], catalogue: Catalogue) -> tuple[list[Append], list[Rejected]]:
    """The events in the order of the messages, and the messages that are none."""
    events, rejected = [], []
    for message in messages:
        try:
            events.append(catalogue.event(message))
        except RefusedError as error:
            rejected.append(Rejected(message, str(error)))
    return events, rejected


def _message(raw: Any) -> Message:
    from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

    if raw.error() is not None:
        raise TopicError(
            f"the topic cannot be read: {raw.error().str()}; see to the brokers, and start again"
        )
    kind, milliseconds = raw.timestamp()
    sent = None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000
    return Message(raw.topic(), raw.partition(), raw.offset(), raw.value(), sent)


def _commit(consumer: Any, messages: Sequence[Message]) -> None:
    """Commit what follows the last message of each partition; a partition that went to another member is its own."""
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    last = {(one.topic, one.partition): one.offset for one in messages}
    offsets = [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]
    # Whoever has the partitions now reads these messages again, and logs none of them twice.
    moved = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS)
    try:
        committed = consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in moved:
            raise TopicError(f"offsets cannot be committed: {_reason(error)}; start again") from error
        return
    failed = [one for one in committed if one.error is not None and one.error.code() not in moved]
    if failed:
        raise TopicError(f"offsets cannot be committed: {failed[0].error.str()}; start again")


def _must_be_there(consumer: Any, brokers: str, topic: str) -> None:
    from confluent_kafka import KafkaException

    try:
        found = consumer.list_topics(topic, timeout=CONNECT_SECONDS).topics[topic]
    except KafkaException as error:
        raise TopicError(f"no broker answers at {brokers}: {_reason(error)}; see to --brokers") from error
    if found.error is not None:
        raise TopicError(f"there is no topic {topic!r} at {brokers}: {found.error.str()}; make it first")


def _reason(error: Any) -> str:
    return str(error.args[0].str())


def _line(one: Rejected) -> dict[str, object]:
    message = one.message
    value = None if message.value is None else message.value.decode("utf-8", "backslashreplace")
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "reason": one.reason,
        "value": value,
    }
