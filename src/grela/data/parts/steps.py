"""The parts of sharding a log, each done by one worker from files in a shared folder to files there.

    sources/     a file for each file of the log: its events, sorted by part
    events/      a file a part: row, u, i, time, repeats dropped; u and i are codes within the part
    users/       a file a part: raw, code                 items/   a file a part: raw, code
    counts-R/    a file a part: raw, n: events of each item after round R
    rare/        a file a round R, from 1: raw: items dropped in it

Whatever is done twice gives the same file (`whole_file`).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grela.data.engine import Scratch, scratch
from grela.data.events import Events, read_events
from grela.data.filtering import Counts, count, drop_rare, drop_repeats
from grela.data.histories_file import write_histories
from grela.data.parts.layout import ITEMS, PartFile, part_name, sha256
from grela.data.preparation import Preparation, encode_log, in_order, load_log
from grela.data.vocabulary import Vocabulary
from grela.errors import DataError
from grela.workers.protocol import whole_file

# Rows of a log's file are numbered from file number << ROW_BITS on, so that rows of the whole log are in order.
ROW_BITS = 40
# Small, so that a part is read from a file without much of its neighbours.
_ROW_GROUP = 20_480


@dataclass(frozen=True)
class Job:
    """What all parts of one sharding know.

    name: the log's, for messages; work: the folder with the files above; out: where the results go
    threads: of one part, None for all cores
    """

    name: str
    out: Path
    work: Path
    parts: int
    settings: Preparation
    threads: int | None

    def folder(self, name: str) -> Path:
        """A folder of the job; DataError where this worker does not see it."""
        path = self.work / name
        if not path.is_dir():
            raise DataError(
                f"sharding {self.name}: there is no {path} on this machine; --out must be a folder that all "
                "machines of the cluster share, under the same path"
            )
        return path


@dataclass(frozen=True)
class Gathered:
    """A part of the log: what it held, and what was left without repeats."""

    read: Counts
    kept: Counts


@dataclass(frozen=True)
class Totals:
    """Items over all parts, those with too few events, and the events of those."""

    items: int
    rare: int
    rare_events: int


def opened(file: Path, user: str | None, item: str | None, time: str | None, format: str | None) -> Events:
    """One file of the log, checked from end to end."""
    return read_events(file, user=user, item=item, time=time, format=format)


def scatter(job: Job, number: int, events: Events, time: pa.DataType) -> int:
    """Sort one file of the log by the part that its users belong to; returns the rows."""
    with _scratch(job, f"reading {events.name}") as database:
        load_log(events, database, first_row=number << ROW_BITS)
        kind = "DOUBLE" if pa.types.is_floating(time) else "BIGINT"
        _write(
            job,
            database,
            f"SELECT ('0x' || md5(\"user\"::VARCHAR)[:15])::BIGINT % {job.parts:d} AS part, "  # noqa: S608
            f'row, "user", item, time::{kind} AS time FROM log ORDER BY part',
            job.folder("sources") / f"{number}.parquet",
        )
        return database.number("SELECT count(*) FROM log")


def gather(job: Job, part: int, sources: int) -> Gathered:
    """Collect one part's events from all files of the log, and drop repeats."""
    with _scratch(job, f"gathering part {part} of {job.name}") as database:
        files = [job.folder("sources") / f"{number}.parquet" for number in range(sources)]
        database.view("scattered", *files)
        database.execute(
            f'CREATE TABLE log AS SELECT row, "user", item, time FROM scattered WHERE part = {part:d}'  # noqa: S608
        )
        encode_log(database)
        read = count(database)
        drop_repeats(database, job.settings.repeats)
        for table in ("events", "users", "items"):
            _write(job, database, f"FROM {table}", job.folder(table) / f"{part}.parquet")
        _write_counts(job, database, part, 0)
        return Gathered(read, count(database))


def core_round(job: Job, part: int, number: int) -> Counts:
    """One part without the items of rounds 1..number-1, and without users who have too few events then.

    Writes how often each item is left, from which `add_up` finds the items of this round. It starts from all events
    each time: users who are dropped with fewer items gone are dropped with more, so it is where the rounds would be.
    """
    with _scratch(job, f"filtering part {part} of {job.name}") as database:
        _load_kept(job, database, part, number)
        _write_counts(job, database, part, number)
        return count(database)


def add_up(job: Job, number: int) -> Totals:
    """Add the parts' counts of items after round `number`, and write the items with too few events."""
    with _scratch(job, f"counting the items of {job.name}") as database:
        folder = job.folder(f"counts-{number}")
        database.view("counts", *(folder / f"{part}.parquet" for part in range(job.parts)))
        database.execute("CREATE TABLE totals AS SELECT raw, sum(n)::BIGINT AS n FROM counts GROUP BY raw")
        rare = f"FROM totals WHERE n < {job.settings.min_item_events:d}"
        _write(job, database, f"SELECT raw {rare}", job.folder("rare") / f"{number}.parquet")
        return Totals(
            database.number("SELECT count(*) FROM totals"),
            database.number(f"SELECT count(*) {rare}"),
            database.number(f"SELECT coalesce(sum(n), 0) {rare}"),
        )


def write_catalogue(job: Job, number: int) -> PartFile:
    """The items that are left after round `number`, in the order of their ids."""
    with _scratch(job, f"writing the catalogue of {job.name}") as database:
        folder = job.folder(f"counts-{number}")
        database.view("counts", *(folder / f"{part}.parquet" for part in range(job.parts)))
        items = database.stream("SELECT DISTINCT raw AS item FROM counts ORDER BY raw").read_all()
    kind = pa.int64() if pa.types.is_int64(items.schema.field("item").type) else pa.string()
    with whole_file(job.out / ITEMS, job.work) as fresh:
        pq.write_table(items.cast(pa.schema([("item", kind)])), fresh)
        digest = sha256(fresh)
    return PartFile(ITEMS, 0, 0, digest)


def write_part(job: Job, part: int, number: int, time: pa.DataType, time_unit: str) -> PartFile:
    """One part's histories, as after round `number`, in their final form and place."""
    with _scratch(job, f"writing part {part} of {job.name}") as database:
        _load_kept(job, database, part, number)
        database.view("users", job.folder("users") / f"{part}.parquet")
        catalogue = Vocabulary(pq.read_table(job.out / ITEMS)["item"].combine_chunks(), first=1)
        codes = _dense_of_codes(job, database, catalogue)
        histories = in_order(database, catalogue, codes, time, time_unit, folder=database.folder)
        name = part_name(part, job.parts)
        with whole_file(job.out / name, job.work) as fresh:
            write_histories(fresh, histories)
            return PartFile(name, len(histories), histories.num_events, sha256(fresh))


def _dense_of_codes(job: Job, database: Scratch, catalogue: Vocabulary) -> np.ndarray:
    """The dense item of each code of the part's table items, int32; 0 where the item is gone."""
    dense = np.arange(1, len(catalogue) + 1, dtype=np.int32)
    database.connection.register("catalogue", pa.table({"raw": catalogue.ids, "dense": pa.array(dense)}))
    found = database.stream("SELECT code, dense FROM items JOIN catalogue USING (raw)").read_all()
    codes = np.zeros(database.number("SELECT count(*) FROM items"), np.int32)
    codes[found.column("code").to_numpy()] = found.column("dense").to_numpy()
    return codes


def _load_kept(job: Job, database: Scratch, part: int, number: int) -> None:
    """Fill the tables items(raw, code) and events(row, u, i, time) as round `number` leaves them."""
    database.view("all_events", job.folder("events") / f"{part}.parquet")
    database.view("all_items", job.folder("items") / f"{part}.parquet")
    database.execute("CREATE TABLE items AS SELECT raw, code FROM all_items")
    if number > 1:
        database.view("dropped", *(job.folder("rare") / f"{earlier}.parquet" for earlier in range(1, number)))
        database.execute("CREATE VIEW gone AS SELECT code FROM items WHERE raw IN (SELECT raw FROM dropped)")
        kept = "FROM all_events WHERE i NOT IN (SELECT code FROM gone)"
    else:
        kept = "FROM all_events"
    database.execute(f"CREATE TABLE events AS SELECT row, u, i, time {kept}")
    drop_rare(database, "u", job.settings.min_user_events)


def _write_counts(job: Job, database: Scratch, part: int, number: int) -> None:
    _write(
        job,
        database,
        "SELECT raw, n FROM items JOIN (SELECT i AS code, count(*) AS n FROM events GROUP BY i) USING (code)",
        job.folder(f"counts-{number}") / f"{part}.parquet",
    )


def _scratch(job: Job, what: str) -> AbstractContextManager[Scratch]:
    return scratch(job.settings.memory_limit, work=what, threads=job.threads)


def _write(job: Job, database: Scratch, query: str, path: Path) -> None:
    with whole_file(path, job.work) as fresh:
        database.connection.sql(query).write_parquet(str(fresh), row_group_size=_ROW_GROUP)
