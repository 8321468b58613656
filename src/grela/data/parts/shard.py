"""A log of any size to a folder in parts: what `grela.data.preparation` does, a share of the users at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from grela.data.events import Events
from grela.data.filtering import Counts, Step
from grela.data.parts.layout import Manifest, is_in_parts, write_manifest
from grela.data.parts.steps import (
    Job,
    add_up,
    core_round,
    gather,
    opened,
    scatter,
    write_catalogue,
    write_part,
)
from grela.data.preparation import KEEP_ALL, Preparation, PreparationReport, core_step
from grela.errors import ConfigError, DataError, ValueInDataError
from grela.workers.protocol import OneProcess, Workers, work_folder

Tell = Callable[[str], None]
_FOLDERS = ("sources", "events", "users", "items", "rare")


@dataclass(frozen=True)
class EventFiles:
    """Files that make up one log, rows of the first before those of the second; opened as `read_events` does."""

    name: str
    files: tuple[Path, ...]
    user: str | None = None
    item: str | None = None
    time: str | None = None
    format: str | None = None

    @staticmethod
    def of(path: Path, **how: str | None) -> "EventFiles":
        """The file, or the folder's files in the order of their names, but for those that begin with "." or "_"."""
        files = [path]
        if is_in_parts(path):
            raise DataError(
                f"{path} is a log in parts already: fit from it, or shard the files that it came from"
            )
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if one.is_file() and one.name[0] not in "._")
            if not files:
                raise DataError(f"the folder {path} has no files; expected the files of a log")
        return EventFiles(str(path), tuple(file.absolute() for file in files), **how)


def shard(
    log: EventFiles | Events,
    out: Path,
    *,
    parts: int,
    settings: Preparation = KEEP_ALL,
    workers: Workers | None = None,
    tell: Tell = lambda line: None,
) -> Manifest:
    """Prepare a log and write it to the new folder `out`, users dealt to `parts` files (`grela.data.parts.layout`).

    What all parts hold together are the histories that `prepare` gives for the log, files one after the other, with the
    same report. Of the log, a worker holds what one of its files or one part takes, `memory_limit` of it in memory.
    workers: who does it, this process if None. tell: told in a line what is done.

    Raises what `read_events` and `prepare` raise, and DataError for a folder that is not empty.
    """
    _check(out, parts)
    workers = workers or OneProcess()
    with work_folder(out) as work:
        name = log.name
        job = Job(name, out, work, parts, settings, workers.threads)
        for folder in _FOLDERS:
            (work / folder).mkdir()
        logs = _opened(log, workers)
        time, time_unit = _common(logs)
        tell(f"reading {len(logs)} files")
        tasks = [(job, number, one, time) for number, one in enumerate(logs)]
        rows = sum(workers.run(scatter, tasks))
        report, rounds = _filter(job, len(logs), rows, workers, tell)
        tell("writing the histories")
        [items] = workers.run(write_catalogue, [(job, rounds)])
        written = workers.run(write_part, [(job, part, rounds, time, time_unit) for part in range(parts)])
        _must_be(report.kept.events, sum(one.events for one in written), "events were written", name)
        _must_be(report.kept.users, sum(one.users for one in written), "users were written", name)
    manifest = Manifest(settings, time_unit, report, items, tuple(written))
    write_manifest(out, manifest)
    return manifest


def _check(out: Path, parts: int) -> None:
    if isinstance(parts, bool) or not isinstance(parts, int) or not 1 <= parts <= 99_999:
        raise ConfigError(f"the number of parts is {parts!r}, expected a whole number from 1 to 99999")
    if any(sign in str(out) for sign in "*?["):
        raise ConfigError(
            f"the folder {out} has one of * ? [ in its path, which stand for other names; give another"
        )


def _opened(log: EventFiles | Events, workers: Workers) -> list[Events]:
    if not isinstance(log, EventFiles):
        return [log]
    return workers.run(opened, [(file, log.user, log.item, log.time, log.format) for file in log.files])


def _common(logs: Sequence[Events]) -> tuple[pa.DataType, str]:
    """The type and unit of all times; ValueInDataError where files differ in what they hold."""
    first = logs[0]
    time = first.schema.field("time").type
    for one in logs[1:]:
        for name in ("user", "item"):
            got, before = (log.schema.field(name).type for log in (one, first))
            if got != before:
                raise ValueInDataError(
                    f"{one.name}: {name} is {got}, but {before} in {first.name}; make all files of the log one or the "
                    "other"
                )
        if one.time_unit != first.time_unit:
            dates = {"us": "dates", "given": "numbers"}
            raise ValueInDataError(
                f"{one.name}: times are {dates[one.time_unit]}, but {dates[first.time_unit]} in {first.name}; make "
                "all files of the log one or the other"
            )
        if pa.types.is_floating(one.schema.field("time").type):
            time = one.schema.field("time").type
    return time, first.time_unit


def _filter(job: Job, sources: int, rows: int, workers: Workers, tell: Tell) -> tuple[PreparationReport, int]:
    """Gather parts and find the k-core; what was dropped, and the number of the last round."""
    tell(f"gathering {job.parts} parts of {rows:,} events")
    _make_counts(job, 0)
    gathered = workers.run(gather, [(job, part, sources) for part in range(job.parts)])
    [totals] = workers.run(add_up, [(job, 0)])
    read = _sum([one.read for one in gathered], totals.items)
    _must_be(rows, read.events, "events were gathered", job.name)
    kept = _sum([one.kept for one in gathered], totals.items)
    steps = []
    if job.settings.repeats != "keep":
        steps.append(Step("repeats", job.settings.repeats, read, kept))
    last = 0
    if job.settings.filters:
        rounds, last, left = _core(job, kept.events, workers, tell)
        steps.append(core_step(job.name, job.settings, rounds, kept, left))
    return PreparationReport(job.name, read, tuple(steps)), last


def _core(job: Job, events: int, workers: Workers, tell: Tell) -> tuple[int, int, Counts]:
    """The rounds that dropped something, the number of the last round, and what it left.

    A round drops users, then items, as `filtering.keep_core` does, so that both count the same rounds.
    """
    rounds = 0
    for number in range(1, 2**31):
        _make_counts(job, number)
        left = workers.run(core_round, [(job, part, number) for part in range(job.parts)])
        [totals] = workers.run(add_up, [(job, number)])
        now = _sum(left, totals.items)
        rounds += now.events < events or totals.rare > 0
        tell(f"k-core, round {number}: {now}; {totals.rare:,} items to drop")
        if not totals.rare:
            break
        events = now.events - totals.rare_events
    return rounds, number, now


def _make_counts(job: Job, number: int) -> None:
    """Make the folder of a round's counts."""
    (job.work / f"counts-{number}").mkdir()


def _sum(parts: Sequence[Counts], items: int) -> Counts:
    """Over parts, which share items but no user."""
    return Counts(sum(one.events for one in parts), sum(one.users for one in parts), items)


def _must_be(expected: int, got: int, what: str, name: str) -> None:
    if got != expected:
        raise DataError(
            f"sharding {name}: {got:,} {what}, expected {expected:,}: files in the work folder were changed or lost; "
            "repeat the command"
        )
