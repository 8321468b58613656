"""The store of a Redis or Valkey server, for several machines: each call is one script, which runs alone there."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from grela.store.checking import check_batch, check_user
from grela.store.protocol import (
    START,
    Append,
    Appended,
    LoggedEvent,
    NewEvent,
    Position,
    StoredState,
    Tail,
    new_generation,
)
from grela.store.redis_scripts import APPEND, DELETE, PUT_STATES, SEED
from grela.store.redis_server import connect, label, must_be_durable, must_be_ours, rewrite_files, stated
from grela.store.seeding import Block, History, Progress, seed_in_blocks

_SCAN = 1000


class RedisStore:
    """A `Store` in one server (not a cluster of them), in keys that begin with `prefix` and a colon.

    url: redis://, rediss:// or unix://; a password in it appears in no message
    durable: the server must keep what it acknowledges (`appendonly yes`, `appendfsync always`, no eviction), else
        StoreError; without it, what the server's settings keep is kept

    Raises StoreError if the server cannot be reached or is not durable, ConfigError without redis-py.
    """

    def __init__(self, url: str, *, prefix: str = "grela", durable: bool = True) -> None:
        self._prefix = prefix
        self._client = connect(url)
        self._where = label(self._client)
        self._append_script = self._client.register_script(APPEND)
        self._seed_script = self._client.register_script(SEED)
        self._delete_script = self._client.register_script(DELETE)
        self._put_script = self._client.register_script(PUT_STATES)
        try:
            with stated(self._where):
                if durable:
                    must_be_durable(self._client, self._where)
                must_be_ours(self._client, self._where, self._key("format"))
        except BaseException:
            self._client.close()
            raise

    def append(self, batch: Sequence[Append]) -> list[Appended]:
        check_batch(batch)
        keys, arguments = [self._key("users")], []
        for entry in batch:
            keys += self._keys_of(entry.user)
            arguments += [*_added(entry.user, entry.events), *entry.known]
        with stated(self._where):
            answers = self._append_script(keys=keys, args=arguments)
        return [_appended(*answer) for answer in answers]

    def read(self, user: str, known: Position = START) -> Tail:
        return self.tails([(user, known)])[0]

    def tails(self, asked: Sequence[tuple[str, Position]]) -> list[Tail]:
        return [one.tail for one in self.append([Append(user, (), known) for user, known in asked])]

    def users(self) -> Iterator[str]:
        cursor, seen = -1, set[bytes]()
        while cursor:
            with stated(self._where):
                cursor, page = self._client.hscan(self._key("users"), max(cursor, 0), count=_SCAN)
            # A hash that grows or shrinks meanwhile gives some fields twice.
            fresh = page.keys() - seen
            seen |= fresh
            yield from (user.decode() for user in fresh)

    def delete(self, user: str) -> int:
        check_user(user, "delete")
        keys = [self._key("users"), *self._keys_of(user), self._key("state", user)]
        with stated(self._where):
            return int(self._delete_script(keys=keys, args=[user]))

    def compact(self) -> None:
        """Have the server rewrite its log, and its snapshots where it keeps any, and wait for it."""
        with stated(self._where):
            rewrite_files(self._client, self._where)

    def seeded(self) -> str | None:
        progress = _progress(self._seeding())
        return progress.fingerprint if progress is not None and progress.finished else None

    def seed(self, fingerprint: str, users: Iterable[History]) -> int:
        return 0 if self.seeded() == fingerprint else seed_in_blocks(fingerprint, users, self._seed_block)

    def close(self) -> None:
        self._client.close()

    def get_states(self, users: Sequence[str], model: str) -> list[StoredState | None]:
        fields = ("model", "generation", "seq", "payload")
        with stated(self._where), self._client.pipeline(transaction=False) as calls:
            for user in users:
                calls.hmget(self._key("state", user), fields)
            rows = calls.execute()
        return [
            StoredState(Position(int(generation), int(seq)), payload) if of == model.encode() else None
            for of, generation, seq, payload in rows
        ]

    def put_states(self, model: str, states: Sequence[tuple[str, StoredState]]) -> None:
        keys = [self._key("users"), *(self._key("state", user) for user, _ in states)]
        arguments: list[Any] = [model]
        for user, state in states:
            arguments += [user, *state.position, state.payload]
        with stated(self._where):
            self._put_script(keys=keys, args=arguments)

    def _seed_block(self, block: Block) -> int:
        """Compare and set: another import that comes between makes this one look again."""
        while True:
            before = self._seeding()
            histories = block.after(_progress(before))
            after = block.reached(_progress(before))
            keys = [self._key("users"), self._key("seeding")]
            arguments: list[Any] = [before, json.dumps([after.fingerprint, after.users, after.finished])]
            for user, events in histories:
                keys += self._keys_of(user)
                arguments += _added(user, events)
            with stated(self._where):
                logged = int(self._seed_script(keys=keys, args=arguments))
            if logged >= 0:
                return logged

    def _seeding(self) -> bytes:
        with stated(self._where):
            return self._client.get(self._key("seeding")) or b""

    def _key(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))

    def _keys_of(self, user: str) -> tuple[str, str]:
        return self._key("log", user), self._key("ids", user)


def _added(user: str, events: Sequence[NewEvent]) -> list[Any]:
    """What the script's `add` takes."""
    arguments: list[Any] = [user, new_generation(), len(events)]
    for event in events:
        arguments += [event.id or "", json.dumps([event.item, event.time, event.id], separators=(",", ":"))]
    return arguments


def _appended(generation: bytes, last: int, same: int, added: list[int], events: list[bytes]) -> Appended:
    first = last - len(events) + 1
    logged = (LoggedEvent(seq, *json.loads(text)) for seq, text in enumerate(events, first))
    position = Position(int(generation), last)
    return Appended(Tail(position, tuple(logged), whole=not same), tuple(map(bool, added)))


def _progress(text: bytes) -> Progress | None:
    return Progress(*json.loads(text)) if text else None
