"""A log in parts holds what the preparation of the whole log gives, however it is cut and whoever prepares it."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from event_logs import Row, core, log, logs, without_repeats
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.data import histories as histories_module
from grela.data import histories_file
from grela.data.histories import Histories
from grela.data.parts.assemble import assemble
from grela.data.parts.layout import Manifest, is_in_parts, read_manifest
from grela.data.parts.shard import EventFiles, shard
from grela.data.preparation import Preparation, prepare
from grela.data.splitting import leave_one_out
from grela.errors import ConfigError, DataError, EmptyDataError, ReadError, ValueInDataError
from grela.workers.protocol import OneProcess, whole_file, work_folder

NAMES = ("user_id", "item_id", "timestamp")


def random_rows(count: int, seed: int = 0) -> list[Row]:
    """Users and items of very different frequency, many ties in time and repeats."""
    rng = np.random.default_rng(seed)
    users, items = rng.zipf(1.3, count) % 97, rng.zipf(1.4, count) % 61
    return list(
        zip(users.tolist(), [f"i{i}" for i in items], rng.integers(0, 40, count).tolist(), strict=True)
    )


def write(path: Path, rows: Sequence[Row]) -> Path:
    columns = [list(column) for column in zip(*rows, strict=True)]
    pq.write_table(pa.table(dict(zip(NAMES, columns, strict=True))), path)
    return path


def same(one: Histories, other: Histories) -> bool:
    arrays = ((getattr(one, name), getattr(other, name)) for name in ("items", "times", "offsets"))
    return (
        all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)
        and one.users.ids.equals(other.users.ids)
        and one.catalogue.ids.equals(other.catalogue.ids)
        and one.time_unit == other.time_unit
    )


def core_of(rows: Sequence[Row], settings: Preparation) -> list[Row]:
    least = {"min_user_events": settings.min_user_events, "min_item_events": settings.min_item_events}
    return core(without_repeats(rows, settings.repeats), **least)


CORES = st.builds(
    Preparation,
    min_user_events=st.integers(1, 4),
    min_item_events=st.integers(1, 4),
    repeats=st.sampled_from(["keep", "drop_consecutive", "first"]),
)


@settings(max_examples=8, deadline=None)
@given(rows=logs(min_size=10), settings_=CORES, parts=st.integers(1, 5))
def test_all_parts_together_are_the_histories_and_the_report_of_the_whole_log(
    rows: list[Row], settings_: Preparation, parts: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        if not core_of(rows, settings_):
            with pytest.raises(EmptyDataError, match=r"log: the k-core with .* is empty: nothing is left of"):
                shard(log(rows), out, parts=parts, settings=settings_)
            return
        histories, report = prepare(log(rows), settings_)
        manifest = shard(log(rows), out, parts=parts, settings=settings_)
        found, read = assemble(out)
        assert read == manifest
        assert manifest.report == report
        assert same(found, histories)


def test_the_k_core_is_found_across_parts_in_as_many_rounds(tmp_path: Path) -> None:
    # A chain that comes apart from both ends, and three users who stay.
    chain = [(user, item, 0) for user in range(9) for item in (user, user + 1)]
    rows = [*chain, *((user, item, item) for user in (20, 21, 22) for item in (3, 30, 31))]
    least = Preparation(min_user_events=2, min_item_events=2)
    histories, report = prepare(log(rows), least)
    assert "rounds 7" in report.lines()[-1]
    manifest = shard(log(rows), tmp_path / "parts", parts=4, settings=least)
    assert manifest.report.lines() == report.lines()
    found, _ = assemble(tmp_path / "parts")
    assert leave_one_out(found).fingerprint == leave_one_out(histories).fingerprint


def test_several_files_are_one_log_in_the_order_of_their_names(tmp_path: Path) -> None:
    rows = random_rows(900)
    (tmp_path / "log").mkdir()
    # Written in another order than that of the names; ties between files would show a wrong one.
    for name, part in (("c", rows[700:]), ("a", rows[:100]), ("b", rows[100:700])):
        write(tmp_path / "log" / f"{name}.parquet", part)
    (tmp_path / "log" / "_SUCCESS").touch()
    shard(EventFiles.of(tmp_path / "log"), tmp_path / "parts", parts=3)
    assert same(assemble(tmp_path / "parts")[0], prepare(log(rows))[0])


def test_a_user_is_in_the_part_that_the_hash_of_the_id_says(tmp_path: Path) -> None:
    rows: list[Row] = [(user, "i", 0) for user in ("", "ä", "a\0b", *(f"user {j}" for j in range(60)))]
    manifest = shard(log(rows), tmp_path / "parts", parts=7)
    for number, part in enumerate(manifest.parts):
        for user in pq.read_table(tmp_path / "parts" / part.file)["user"].to_pylist():
            assert int(hashlib.md5(user.encode()).hexdigest()[:15], 16) % 7 == number


def test_the_manifest_counts_what_the_files_hold_and_nothing_else_is_left(tmp_path: Path) -> None:
    out = tmp_path / "parts"
    manifest = shard(log(random_rows(500)), out, parts=4)
    for part in manifest.parts:
        table = pq.read_table(out / part.file)
        assert (part.users, part.events) == (len(table), sum(len(one) for one in table["items"].to_pylist()))
        assert part.sha256 == hashlib.sha256((out / part.file).read_bytes()).hexdigest()
    assert sum(part.events for part in manifest.parts) == 500
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["items.parquet", "manifest.json", *(part.file for part in manifest.parts)]
    )


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    manifests = [shard(log(random_rows(400)), tmp_path / name, parts=3) for name in ("one", "other")]
    assert manifests[0] == manifests[1]


class Careless(OneProcess):
    """Does every part three times, as an engine that took a machine for dead may do."""

    def run(self, part: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        for _ in range(2):
            super().run(part, arguments)
        return super().run(part, arguments)


def test_parts_that_are_done_several_times_change_nothing(tmp_path: Path) -> None:
    least = Preparation(min_user_events=5, min_item_events=5)
    rows = random_rows(1_500)
    once = shard(log(rows), tmp_path / "once", parts=3, settings=least)
    assert shard(log(rows), tmp_path / "often", parts=3, settings=least, workers=Careless()) == once


def test_what_is_assembled_leaves_nothing_on_disk_and_can_become_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(histories_module, "_BLOCK_EVENTS", 50)  # many row groups
    rows = random_rows(700)
    shard(log(rows), tmp_path / "parts", parts=3)
    place = tmp_path / "place"
    place.mkdir()
    histories, _ = assemble(tmp_path / "parts", place=place)
    assert not list(place.iterdir())
    assert torch.from_numpy(histories.items).sum() == prepare(log(rows))[0].items.sum()


def test_some_users_of_a_file_are_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories, _ = prepare(log(random_rows(600)))
    monkeypatch.setattr(histories_module, "_BLOCK_EVENTS", 40)
    path = tmp_path / "histories.parquet"
    histories_file.write_histories(path, histories)
    assert pq.ParquetFile(path).num_row_groups > 5
    users = len(histories)
    for low, high in ((0, users), (0, 1), (users - 1, users), (3, users - 2), (5, 6)):
        rows = histories_file.read_some_rows(path, histories.num_items, low, high)
        first, last = histories.offsets[low], histories.offsets[high]
        assert rows.users.equals(histories.users.ids.slice(low, high - low))
        assert np.array_equal(rows.items, histories.items[first:last])
        assert np.array_equal(rows.times, histories.times[first:last])
        assert np.array_equal(rows.offsets, histories.offsets[low : high + 1] - first)
    with pytest.raises(ValueError, match=f"has {users} users, expected at least {users + 1}"):
        histories_file.read_some_rows(path, histories.num_items, 0, users + 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three parts; tests only read it."""
    out = tmp_path_factory.mktemp("parts") / "whole"
    shard(log(random_rows(200)), out, parts=3)
    return out


def damage_part(out: Path, manifest: Manifest) -> None:
    path = out / manifest.parts[1].file
    path.write_bytes(path.read_bytes()[:-9] + b"123456789")


def remove_part(out: Path, manifest: Manifest) -> None:
    (out / manifest.parts[1].file).unlink()


def swap_parts(out: Path, manifest: Manifest) -> None:
    one, other = (out / part.file for part in manifest.parts[:2])
    one.rename(out / "x")
    other.rename(one)
    (out / "x").rename(other)


def damage_manifest(out: Path, manifest: Manifest) -> None:
    (out / "manifest.json").write_text('{"format": 1, "parts": []}')


def newer_manifest(out: Path, manifest: Manifest) -> None:
    values = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(values | {"format": 2}))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_part, "has SHA-256"),
        (remove_part, "No such file"),
        (swap_parts, "has SHA-256"),
        (damage_manifest, "is no manifest of a log in parts"),
        (newer_manifest, "of another version"),
    ],
)
def test_a_damaged_folder_is_refused(
    tmp_path: Path, whole: Path, harm: Callable[[Path, Manifest], None], says: str
) -> None:
    shutil.copytree(whole, tmp_path / "parts")
    harm(tmp_path / "parts", read_manifest(whole))
    with pytest.raises(DataError, match=says) as raised:
        assemble(tmp_path / "parts")
    assert str(tmp_path / "parts") in str(raised.value)
    assert "shard the log again" in str(raised.value)


def test_what_cannot_be_sharded_is_refused(tmp_path: Path) -> None:
    rows = random_rows(20)
    for parts in (0, -1, 100_000, True, 1.5):
        with pytest.raises(ConfigError, match="expected a whole number from 1 to 99999"):
            shard(log(rows), tmp_path / "parts", parts=parts)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stand for other names"):
        shard(log(rows), tmp_path / "part[s]", parts=2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(DataError, match=r"is not empty \(mine.txt\)"):
        shard(log(rows), tmp_path / "full", parts=2)
    with pytest.raises(ReadError, match="does not exist"):
        shard(EventFiles.of(tmp_path / "none.csv"), tmp_path / "parts", parts=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no files"):
        EventFiles.of(tmp_path / "empty")
    assert not is_in_parts(tmp_path / "parts")


def test_files_of_one_log_must_hold_the_same_kinds(tmp_path: Path) -> None:
    def sharded(name: str, *files: Sequence[Row]) -> Manifest:
        (tmp_path / name).mkdir()
        for number, rows in enumerate(files):
            write(tmp_path / name / f"{number}.parquet", rows)
        return shard(EventFiles.of(tmp_path / name), tmp_path / f"{name}-parts", parts=2)

    with pytest.raises(ValueInDataError, match=r"1\.parquet: user is string, but int64 in .*0\.parquet"):
        sharded("ids", [(1, 2, 3)], [("a", 2, 3)])
    with pytest.raises(ValueInDataError, match="times are dates, but numbers in"):
        sharded("times", [(1, 2, 3)], [(1, 2, "2024-05-01")])
    sharded("floats", [(1, 2, 3)], [(1, 2, 2.5)])
    assert assemble(tmp_path / "floats-parts")[0].times.tolist() == [2.5, 3.0]


def test_a_failure_leaves_no_work_and_the_folder_can_be_used_again(tmp_path: Path) -> None:
    out = tmp_path / "parts"
    with pytest.raises(EmptyDataError, match="k-core"):
        shard(log(random_rows(50)), out, parts=2, settings=Preparation(min_user_events=1_000))
    assert not list(out.iterdir())
    (out / ".work-of-a-killed-job").mkdir()
    shard(log(random_rows(50)), out, parts=2)
    assert read_manifest(out).report.kept.events == 50


def test_a_part_given_up_changes_nothing_after_the_job(tmp_path: Path) -> None:
    def late() -> None:
        with whole_file(tmp_path / "result", work) as fresh:
            fresh.write_text("late")
            over.close()

    with ExitStack() as over:
        work = over.enter_context(work_folder(tmp_path))
        with pytest.raises(DataError, match="cannot write"):
            late()
    assert not list(tmp_path.iterdir())
