import errno
import gzip
import os
import random
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from event_logs import Log, Row, id_order, in_order, log, logs
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.data.histories import Histories
from grela.data.preparation import Preparation, prepare
from grela.errors import ConfigError, DataError, EmptyDataError, ReadError, ValueInDataError

ROWS: list[Row] = [("u", "b", 5), ("v", "a", 1), ("u", "a", 2), ("u", "c", 5), ("v", "c", 0), ("u", "b", 2)]


def as_lists(histories: Histories) -> dict[str | int, list[tuple[str | int, int | float]]]:
    """What a user sees: raw ids of users and items, with times."""
    result = {}
    for user, raw in enumerate(histories.users.decode(np.arange(len(histories)))):
        times = histories.times[histories.offsets[user] : histories.offsets[user + 1]]
        result[raw] = list(zip(histories.catalogue.decode(histories[user]), times.tolist(), strict=True))
    return result


def test_histories_are_in_order_of_time_and_ties_stay_in_order_of_rows() -> None:
    histories, _ = prepare(log(ROWS))
    assert as_lists(histories) == {"u": [("a", 2), ("b", 2), ("b", 5), ("c", 5)], "v": [("c", 0), ("a", 1)]}
    assert histories.items.dtype == np.int32
    assert histories.offsets.tolist() == [0, 4, 6]


@settings(max_examples=30, deadline=None)
@given(rows=logs(), batch_rows=st.integers(1, 50))
def test_histories_equal_a_stable_sort_in_python(rows: list[Row], batch_rows: int) -> None:
    histories, report = prepare(log(rows, batch_rows=batch_rows))
    expected = in_order(rows)
    assert as_lists(histories) == {
        user: [(r[1], r[2]) for r in history] for user, history in expected.items()
    }
    assert histories.users.ids.to_pylist() == list(expected)
    assert histories.catalogue.ids.to_pylist() == sorted({r[1] for r in rows}, key=id_order)
    assert (report.read.events, report.read.users) == (len(rows), len(expected))
    assert histories.times.dtype == (np.float64 if isinstance(rows[0][2], float) else np.int64)


def test_ids_and_order_do_not_depend_on_how_users_are_interleaved() -> None:
    rng = random.Random(5)
    rows = [(rng.randrange(40), rng.randrange(30), rng.randrange(6)) for _ in range(2_000)]
    by_user = {user: [r for r in rows if r[0] == user] for user in {r[0] for r in rows}}
    order = [r[0] for r in rows]
    rng.shuffle(order)
    taken = {user: iter(history) for user, history in by_user.items()}
    interleaved = [next(taken[user]) for user in order]
    assert interleaved != rows
    assert as_lists(prepare(log(interleaved))[0]) == as_lists(prepare(log(rows, batch_rows=999))[0])


def test_ties_stay_in_order_of_rows_across_many_row_groups_and_threads() -> None:
    rows = 400_000
    user = np.arange(rows) % 3
    item = (np.arange(rows) * 7919) % 100_003
    table = pa.table({"user": user, "item": item, "time": np.zeros(rows, np.int64)})
    histories, _ = prepare(Log("ties", table.schema, "given", lambda: iter(table.to_batches(10_000))))
    for u in range(3):
        assert np.array_equal(histories.catalogue.ids.to_numpy()[histories[u] - 1], item[user == u])


def test_memory_mapped_equals_in_memory(tmp_path: Path) -> None:
    rows = [(f"u{n % 7}", n % 11, float(n % 5)) for n in range(500)]
    held, held_report = prepare(log(rows))
    mapped, mapped_report = prepare(log(rows), folder=tmp_path / "new" / "folder")
    assert held_report == mapped_report
    assert as_lists(held) == as_lists(mapped)
    for name in ("items", "times", "offsets"):
        array = getattr(mapped, name)
        assert isinstance(array, np.memmap)
        assert array.dtype == getattr(held, name).dtype
        assert not array.flags.writeable


def test_only_the_three_arrays_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    prepare(log(ROWS), folder=tmp_path / "arrays")
    prepare(log(ROWS))
    assert sorted(p.name for p in (tmp_path / "arrays").iterdir()) == [
        "items.npy",
        "offsets.npy",
        "times.npy",
    ]
    assert not list((tmp_path / "temporary").iterdir())


def test_preparing_again_leaves_earlier_maps_of_the_folder_intact(tmp_path: Path) -> None:
    first, _ = prepare(log(ROWS), folder=tmp_path)
    before = as_lists(first)
    prepare(log([("x", "y", 1)]), folder=tmp_path)
    assert as_lists(first) == before


class _Broken:
    """A log whose third batch fails as a reader fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def batches(self) -> Iterator[pa.RecordBatch]:
        source = log(ROWS, batch_rows=2)
        yield from list(source.batches())[:2]
        raise self.error


@pytest.mark.parametrize(
    "error", [ReadError("f.csv row 4: bad"), OSError(errno.EIO, "disk"), KeyboardInterrupt()], ids=repr
)
def test_an_error_of_the_log_comes_through_unchanged_and_nothing_stays(
    error: BaseException, tmp_path: Path
) -> None:
    source = replace(log(ROWS), batches=_Broken(error).batches)
    with pytest.raises(type(error)) as caught:
        prepare(source, folder=tmp_path)
    assert caught.value is error
    assert not list(tmp_path.iterdir())


def test_a_null_is_refused_with_its_row() -> None:
    table = pa.table({"user": [1, 2, 3], "item": [1, None, 3], "time": [1, 2, 3]})
    source = Log("f.csv", table.schema, "given", lambda: iter(table.to_batches(1)))
    with pytest.raises(ValueInDataError, match=r"f\.csv: item is null at row 1"):
        prepare(source)


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(EmptyDataError, match="log has no events"):
        prepare(log([]))


def test_one_event_of_one_user_is_enough() -> None:
    histories, report = prepare(log([(7, "only", 1)]))
    assert as_lists(histories) == {7: [("only", 1)]}
    assert report.lines() == ["log: 1 events, 1 users, 1 items"]


def test_when_all_is_filtered_out_the_error_names_the_step_and_its_thresholds() -> None:
    asked = Preparation(min_user_events=5, min_item_events=2)
    with pytest.raises(
        EmptyDataError, match=r"k-core with min_user_events=5, min_item_events=2 is empty.*6 events"
    ):
        prepare(log(ROWS), asked)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"min_user_events": 0}, "min_user_events is 0"),
        ({"min_item_events": 2.5}, "min_item_events is 2.5"),
        ({"min_item_events": True}, "min_item_events is True"),
        ({"repeats": "last"}, "repeats is 'last', expected one of keep"),
        ({"memory_limit": "lots"}, "memory_limit is 'lots'"),
        ({"memory_limit": "0GB"}, "memory_limit is '0GB'"),
        ({"memory_limit": "1GB; DROP TABLE log"}, "memory_limit is"),
    ],
)
def test_a_senseless_setting_is_refused_by_name(setting: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Preparation(**setting)  # type: ignore[arg-type]


def test_a_memory_limit_that_is_too_small_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="preparing log does not fit memory_limit='100KB'"):
        prepare(log(ROWS), Preparation(memory_limit="100KB"), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_says_where_and_leaves_nothing(tmp_path: Path) -> None:
    table = pa.table(
        {name: np.random.default_rng(0).permutation(50_000) for name in ("user", "item", "time")}
    )
    source = Log("big", table.schema, "given", lambda: iter(table.to_batches(10_000)))
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, allowed[1]))
    try:
        with pytest.raises(DataError, match=f"preparing big failed over its working files in {tmp_path}"):
            prepare(source, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/below cannot be made"):
        prepare(log(ROWS), folder=tmp_path / "file" / "below")


def test_the_log_is_read_once() -> None:
    reads = []
    source = log(ROWS)

    def batches() -> Iterator[pa.RecordBatch]:
        reads.append(1)
        return source.batches()

    prepare(replace(source, batches=batches), Preparation(min_user_events=2, repeats="first"))
    assert len(reads) == 1


def test_the_report_adds_up_and_reads_as_json() -> None:
    asked = Preparation(min_item_events=2, repeats="first")
    histories, report = prepare(log(ROWS), asked)
    assert [step.name for step in report.steps] == ["repeats", "k-core"]
    assert report.read.events - sum(step.dropped.events for step in report.steps) == histories.num_events
    assert report.kept.users == len(histories)
    assert report.kept.items == histories.num_items
    assert report.to_json()["kept"] == {"events": 4, "users": 2, "items": 2}
    assert "dropped 1 events, 0 users, 0 items; left 5 events" in report.lines()[1]


@pytest.mark.real_data
def test_movielens_1m_has_the_published_size_and_number_of_ties() -> None:
    if "GRELA_DATA" not in os.environ:
        pytest.skip("GRELA_DATA does not name the folder of data sets")
    with gzip.open(Path(os.environ["GRELA_DATA"]) / "ml-1m" / "ratings.tsv.gz") as file:
        options = pyarrow.csv.ParseOptions(delimiter="\t")
        table = pyarrow.csv.read_csv(file, parse_options=options).rename_columns(["user", "item", "time"])
    source = Log("ml-1m", table.schema, "given", lambda: iter(table.to_batches(50_000)))
    histories, _ = prepare(source, Preparation(min_item_events=5))
    assert (len(histories), histories.num_items, histories.num_events) == (6_040, 3_416, 999_611)
    same_user = np.repeat(np.arange(6_040), histories.lengths)
    ties = (np.diff(histories.times) == 0) & (np.diff(same_user) == 0)
    assert np.count_nonzero(ties) == 528_654
    user, item, time = (table.column(name).to_numpy() for name in ("user", "item", "time"))
    stable = np.lexsort((np.arange(len(time)), time, user))
    assert np.array_equal(histories.catalogue.ids.to_numpy()[histories.items - 1], item[stable])
