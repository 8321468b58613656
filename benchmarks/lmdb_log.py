"""The append and read of a store on LMDB, as much as `store.py` measures: the embedded store that was not chosen."""

import json
from pathlib import Path

import lmdb

from grela.store.protocol import START, Appended, LoggedEvent, Position, Tail, new_generation


class LmdbLog:
    """Databases: users (user to number and generation), events (number, seq), ids (number, id)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = lmdb.open(str(path), map_size=1 << 34, max_dbs=3)
        self.people, self.events, self.ids = (
            self.environment.open_db(name) for name in (b"users", b"events", b"ids")
        )

    def append(self, batch):
        with self.environment.begin(write=True) as at:
            return [self._append(at, entry) for entry in batch]

    def _append(self, at, entry):
        key = entry.user.encode()
        row = at.get(key, db=self.people)
        if row is None:
            count = at.stat(self.people)["entries"]
            row = count.to_bytes(8, "big") + new_generation().to_bytes(8, "big")
            at.put(key, row, db=self.people)
        number, generation = row[:8], int.from_bytes(row[8:], "big")
        last = self._last(at, number)
        logged, added = [], []
        for event in entry.events:
            seq = last + len(logged) + 1
            place = seq.to_bytes(4, "big")
            new = event.id is None or at.put(number + event.id.encode(), place, overwrite=False, db=self.ids)
            added.append(new)
            if new:
                at.put(
                    number + place, json.dumps([event.item, event.time, event.id]).encode(), db=self.events
                )
                logged.append(LoggedEvent(seq, event.item, event.time, event.id))
        position = Position(generation, last + len(logged))
        if entry.known == (generation, last):
            return Appended(Tail(position, tuple(logged), whole=False), tuple(added))
        return Appended(self._tail(at, number, position, entry.known), tuple(added))

    def read(self, user, known=START):
        with self.environment.begin() as at:
            row = at.get(user.encode(), db=self.people)
            position = Position(int.from_bytes(row[8:], "big"), self._last(at, row[:8]))
            return self._tail(at, row[:8], position, known)

    def _last(self, at, number):
        cursor = at.cursor(self.events)
        after = (int.from_bytes(number, "big") + 1).to_bytes(8, "big")
        there = cursor.prev() if cursor.set_range(after) else cursor.last()
        return int.from_bytes(cursor.key()[8:], "big") if there and cursor.key()[:8] == number else 0

    def _tail(self, at, number, position, known):
        whole = known.generation != position.generation
        cursor = at.cursor(self.events)
        first = 1 if whole else known.seq + 1
        found = []
        if cursor.set_range(number + first.to_bytes(4, "big")):
            for key, value in cursor:
                if key[:8] != number:
                    break
                found.append(LoggedEvent(int.from_bytes(key[8:], "big"), *json.loads(value)))
        return Tail(position, tuple(found), whole)

    def seed(self, fingerprint, users):
        from grela.store.protocol import Append
        from grela.store.seeding import blocks

        for block in blocks(fingerprint, users):
            self.append([Append(user, tuple(events)) for user, events in block.histories])

    def close(self):
        self.environment.close()
