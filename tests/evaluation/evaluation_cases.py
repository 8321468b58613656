"""Small made-up cases, and a scorer that answers with a given table."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from grela.data.histories import Cases, Histories, HistoryBatch
from grela.data.vocabulary import Vocabulary


def make_cases(histories: list[list[int]], targets: list[list[int]], num_items: int) -> Cases:
    """User u (raw id "u0", "u1", ...) has `histories[u]`, then `targets[u]`; raw item ids are 100 + dense id."""
    events = [np.array(h + t, np.int32) for h, t in zip(histories, targets, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(e) for e in events])]).astype(np.int64)
    items = np.concatenate(events)
    log = Histories(
        items=items,
        times=np.arange(len(items)),
        offsets=offsets,
        users=Vocabulary(pa.array([f"u{u}" for u in range(len(events))]), 0),
        catalogue=Vocabulary(pa.array(range(101, 101 + num_items), pa.int64()), 1),
    )
    users = np.arange(len(events), dtype=np.int64)
    history_end = offsets[:-1] + [len(h) for h in histories]
    return Cases(log, users, history_end, offsets[1:])


@dataclass(frozen=True, eq=False)
class Table:
    """A scorer: row u of `table` [U, N] for user u, known by where the history starts in the log."""

    table: np.ndarray
    offsets: np.ndarray

    @property
    def num_items(self) -> int:
        return self.table.shape[1]

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        return self.table[np.searchsorted(self.offsets, batch.start)]


def table_for(cases: Cases, table: np.ndarray) -> Table:
    """The scorer that gives user u of `cases` row u."""
    return Table(table, cases.histories.offsets)


def random_cases(
    rng: np.random.Generator, *, users: int, num_items: int, longest: int, most_targets: int
) -> Cases:
    """Histories of 0 to `longest` events with repetitions, 1 to `most_targets` targets each."""
    histories = [rng.integers(1, num_items + 1, rng.integers(0, longest + 1)).tolist() for _ in range(users)]
    targets = [
        rng.integers(1, num_items + 1, rng.integers(1, most_targets + 1)).tolist() for _ in range(users)
    ]
    return make_cases(histories, targets, num_items)


def counts_for(cases: Cases, rng: np.random.Generator) -> np.ndarray:
    """Made-up training counts, some of them 0, at least one event in all."""
    counts = rng.integers(0, 9, cases.histories.num_items + 1)
    counts[0] = 0
    counts[1] = 5
    return counts
