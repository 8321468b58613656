"""Lists for many users into one Parquet file, in memory that does not grow with their number."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grela.data.histories import Histories, HistoryBatch
from grela.errors import RunError
from grela.serving.lists import recommend
from grela.serving.ranking import HISTORIES, Candidates, blocks
from grela.serving.scorer import ModelScorer

# U users asked for, N items

Progress = Callable[[int, int], None]


def write_lists(
    path: Path,
    scorer: ModelScorer,
    fallback: np.ndarray,
    histories: Histories,
    users: np.ndarray,
    candidates: Candidates,
    k: int,
    *,
    progress: Progress | None = None,
    at_a_time: int = HISTORIES,
) -> int:
    """Write user, rank (from 1), item, score for dense `users` [U]; returns the rows.

    fallback: float [N], scores for a history without events; at_a_time: how many users go through
    together; progress: called with (users done, users in all) after each block.
    The file appears when it is whole; RunError if it cannot be written.
    """
    schema = _schema(histories)
    fresh = path.with_name(path.name + ".part")
    rows = 0
    try:
        with pq.ParquetWriter(fresh, schema) as writer:
            for part in blocks(len(users), size=at_a_time):
                table = _lists(scorer, fallback, histories, users[part], candidates, k, schema)
                writer.write_table(table)
                rows += len(table)
                if progress:
                    progress(part.stop, len(users))
        fresh.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; choose another file") from error
    finally:
        if fresh.is_file():
            fresh.unlink()
    return rows


def _schema(histories: Histories) -> pa.Schema:
    return pa.schema(
        {
            "user": histories.users.ids.type,
            "rank": pa.int32(),
            "item": histories.catalogue.ids.type,
            "score": pa.float32(),
        }
    )


def _lists(
    scorer: ModelScorer,
    fallback: np.ndarray,
    histories: Histories,
    users: np.ndarray,
    candidates: Candidates,
    k: int,
    schema: pa.Schema,
) -> pa.Table:
    h = histories
    batch = HistoryBatch(h.items, h.times, h.offsets[users], h.offsets[users + 1])
    tops = recommend(scorer, fallback, batch, candidates, k)
    lengths = [len(top.items) for top in tops]
    columns = [
        h.users.ids.take(pa.array(np.repeat(users, lengths))),
        pa.array(np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in lengths])),
        h.catalogue.ids.take(pa.array(np.concatenate([top.items for top in tops]) - 1)),
        pa.array(np.concatenate([top.scores for top in tops]).astype(np.float32)),
    ]
    return pa.table(columns, schema=schema)
