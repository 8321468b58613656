import hashlib
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from event_logs import Row, in_order, log, logs
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.data import histories as histories_module
from grela.data.histories import Cases, Histories
from grela.data.preparation import prepare
from grela.data.splitting import Split, leave_one_out, temporal, train_item_counts
from grela.errors import ConfigError, EmptyDataError

ROWS: list[Row] = [
    *[("long", item, time) for time, item in enumerate("abcde")],
    *[("three", item, time) for time, item in enumerate("abx")],
    *[("two", item, time) for time, item in enumerate("ay", start=3)],
    ("one", "b", 1),
]


def histories_of(rows: list[Row], time_unit: str = "given") -> Histories:
    return prepare(log(rows, time_unit=time_unit))[0]


def as_lists(cases: Cases) -> dict[str | int, tuple[list[str | int], list[str | int]]]:
    """Per user: the items of the history, and the targets."""
    decode = cases.histories.catalogue.decode
    users = cases.histories.users.decode(cases.users)
    return {raw: (decode(cases.batch[c]), decode(cases.targets(c))) for c, raw in enumerate(users)}


def test_leave_one_out_tests_the_last_event_and_validates_the_one_before() -> None:
    split = leave_one_out(histories_of(ROWS))
    assert as_lists(split.cases("test")) == {"long": (list("abcd"), ["e"]), "three": (list("ab"), ["x"])}
    assert as_lists(split.cases("valid")) == {"long": (list("abc"), ["d"]), "three": (["a"], ["b"])}


def test_users_too_short_to_be_tested_train_with_all_their_events_and_are_counted() -> None:
    split = leave_one_out(histories_of(ROWS))
    users = split.histories.users.ids.to_pylist()
    assert dict(zip(users, split.train_lengths.tolist(), strict=True)) == {
        "long": 3,
        "three": 1,
        "two": 2,
        "one": 1,
    }
    report = split.report()
    assert (report.users, report.train_users, report.train_only_users, report.train_events) == (4, 4, 2, 7)
    assert "too short to be tested, train only: 2 users" in report.lines()[1]


def test_targets_that_training_never_shows_are_counted() -> None:
    report = leave_one_out(histories_of(ROWS)).report()
    assert (report.test.cases, report.test.targets, report.test.cold_targets) == (2, 2, 2)
    assert (report.valid.cases, report.valid.targets, report.valid.cold_targets) == (2, 2, 1)
    assert report.to_json()["valid"] == {"cases": 2, "targets": 2, "cold_targets": 1, "cold_users": 0}


def test_leave_one_out_of_short_histories_only_is_refused() -> None:
    with pytest.raises(EmptyDataError, match="needs 3 events of a user, the longest of 2 histories has 2"):
        leave_one_out(histories_of([("u", "a", 1), ("u", "b", 2), ("v", "a", 1)]))


def test_temporal_cuts_all_users_at_the_same_times_and_the_time_itself_belongs_to_the_later_part() -> None:
    split = temporal(histories_of(ROWS), valid_from=2, test_from=4)
    assert as_lists(split.cases("valid")) == {"long": (list("ab"), list("cd")), "three": (list("ab"), ["x"])}
    assert as_lists(split.cases("test")) == {"long": (list("abcd"), ["e"]), "two": (["a"], ["y"])}


def test_users_without_a_history_before_the_date_are_no_cases_and_are_counted() -> None:
    report = temporal(histories_of(ROWS), valid_from=2, test_from=4).report()
    assert (report.valid.cold_users, report.test.cold_users) == (1, 0)
    assert report.train_only_users == 1
    assert (report.valid.targets, report.valid.cold_targets) == (3, 3)
    assert (report.test.targets, report.test.cold_targets) == (2, 2)


@settings(max_examples=25, deadline=None)
@given(rows=logs(max_size=60), cuts=st.tuples(st.integers(-3, 3), st.integers(1, 3)))
def test_splits_equal_plain_python(rows: list[Row], cuts: tuple[int, int]) -> None:
    histories = histories_of(rows)
    ordered = in_order(rows)
    valid_from, test_from = cuts[0], cuts[0] + cuts[1]
    before = [[sum(r[2] < cut for r in h) for h in ordered.values()] for cut in (valid_from, test_from)]
    try:
        split = temporal(histories, valid_from=valid_from, test_from=test_from)
    except EmptyDataError:
        parts = (
            [(b, e) for b, e in zip(*before, strict=True)],
            list(zip(before[1], map(len, ordered.values()), strict=True)),
        )
        assert not any(before[0]) or any(not any(0 < b < e for b, e in part) for part in parts)
    else:
        assert [split.train_end.tolist(), split.valid_end.tolist()] == before
        assert_parts_cover(split, rows)
    if max(len(h) for h in ordered.values()) >= 3:
        assert_parts_cover(leave_one_out(histories), rows)


def assert_parts_cover(split: Split, rows: list[Row]) -> None:
    """Training counts plus both parts are the log; no target lies in its own history."""
    counts = train_item_counts(split)
    assert counts[0] == 0
    trained = [r[1] for h, end in zip(in_order(rows).values(), split.train_end, strict=True) for r in h[:end]]
    assert counts[1:].tolist() == [trained.count(item) for item in split.histories.catalogue.ids.to_pylist()]
    assert np.array_equal(split.test_end, split.histories.lengths)
    cold = split.report()
    for part, seen in (("valid", cold.valid), ("test", cold.test)):
        cases = split.cases(part)  # type: ignore[arg-type]
        targets = [item for c in range(len(cases)) for item in cases.targets(c).tolist()]
        assert seen.targets == len(targets)
        assert seen.cold_targets == sum(counts[item] == 0 for item in targets)
        for c, user in enumerate(cases.users):
            whole = np.concatenate([cases.batch[c], cases.targets(c)])
            assert np.array_equal(whole, split.histories[user][: len(whole)])


def test_counting_block_by_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    histories = histories_of([(rng.randrange(30), rng.randrange(20), rng.randrange(9)) for _ in range(500)])
    whole = temporal(histories, valid_from=3, test_from=6)
    monkeypatch.setattr(histories_module, "_BLOCK_EVENTS", 7)
    parts = temporal(histories, valid_from=3, test_from=6)
    assert whole.report() == parts.report()
    assert np.array_equal(train_item_counts(whole), train_item_counts(parts))


def test_dates_cut_where_their_instant_lies() -> None:
    day = 86_400_000_000
    rows: list[Row] = [("u", f"i{n}", n * day) for n in range(6)]
    histories = histories_of(rows, "us")
    split = temporal(histories, valid_from="1970-01-03", test_from="1970-01-05T02:00:00+02:00")
    assert (split.train_end.tolist(), split.valid_end.tolist()) == ([2], [4])
    same = temporal(histories, valid_from=2 * day, test_from=4 * day)
    assert split.fingerprint == same.fingerprint


def test_a_fraction_cuts_integer_times_exactly_even_beyond_float_precision() -> None:
    start = 2**53
    histories = histories_of([("u", n, start + n) for n in range(6)])
    split = temporal(histories, valid_from=start + 3, test_from=start + 5)
    assert (split.train_end.tolist(), split.valid_end.tolist()) == ([3], [5])
    fraction = temporal(histories_of([("u", n, n) for n in range(6)]), valid_from=2.5, test_from=4.0)
    assert (fraction.train_end.tolist(), fraction.valid_end.tolist()) == ([3], [4])


@pytest.mark.parametrize(
    ("valid_from", "test_from", "named"),
    [
        ("2020-01-01", 5, "valid_from is '2020-01-01', but this log's times are plain numbers"),
        (float("nan"), 5, "valid_from is nan, expected a finite number"),
        (1, True, "test_from is True"),
        (3, 3, "valid_from=3 must be before test_from=3"),
    ],
)
def test_senseless_times_are_refused(valid_from: object, test_from: object, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        temporal(histories_of(ROWS), valid_from=valid_from, test_from=test_from)  # type: ignore[arg-type]


def test_text_that_is_no_date_is_refused() -> None:
    with pytest.raises(ConfigError, match="valid_from is 'soon', expected an ISO 8601 date"):
        temporal(histories_of(ROWS, "us"), valid_from="soon", test_from=4)


@pytest.mark.parametrize(
    ("valid_from", "test_from", "named"),
    [
        (-5, 2, "no event is left to train on.*the log runs from 0 to 4"),
        (2, 90, "no user has events in test and before it"),
        (3.5, 3.6, "no user has events in valid and before it"),
    ],
)
def test_times_that_leave_a_part_empty_are_refused(valid_from: float, test_from: float, named: str) -> None:
    with pytest.raises(EmptyDataError, match=named):
        temporal(histories_of(ROWS), valid_from=valid_from, test_from=test_from)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ConfigError, match='part is \'train\', expected "valid" or "test"'):
        leave_one_out(histories_of(ROWS)).cases("train")  # type: ignore[arg-type]


def fingerprint_of(rows: list[Row]) -> str:
    return leave_one_out(histories_of(rows)).fingerprint


def test_the_fingerprint_does_not_change_with_the_order_of_users_in_the_file() -> None:
    by_user = sorted(ROWS, key=lambda row: row[0])
    by_time = sorted(ROWS, key=lambda row: row[2])
    assert by_user != by_time
    assert fingerprint_of(by_user) == fingerprint_of(by_time) == fingerprint_of(ROWS)


def test_the_fingerprint_does_not_change_with_memory_mapping(tmp_path: Path) -> None:
    mapped, _ = prepare(log(ROWS), folder=tmp_path)
    assert isinstance(mapped.items, np.memmap)
    assert leave_one_out(mapped).fingerprint == fingerprint_of(ROWS)


def test_the_fingerprint_does_not_change_with_byte_order_or_integer_width() -> None:
    split = leave_one_out(histories_of(ROWS))
    swapped = replace(split.histories, items=split.histories.items.astype(">i4"))
    other = replace(split, histories=swapped, train_end=split.train_end.astype(np.int32))
    assert other.fingerprint == split.fingerprint


@pytest.mark.parametrize("place", [0, 6, 10])
def test_the_fingerprint_changes_with_any_event(place: int) -> None:
    user, item, time = ROWS[place]
    assert isinstance(user, str)
    assert isinstance(item, str)
    changes: list[list[Row]] = [[], [(user + "'", item, time)], [(user, item + "'", time)], [ROWS[place]] * 2]
    prints = {fingerprint_of([*ROWS[:place], *change, *ROWS[place + 1 :]]) for change in changes}
    assert len(prints - {fingerprint_of(ROWS)}) == len(changes)


def test_the_fingerprint_changes_with_the_order_of_two_events() -> None:
    swapped = [("long", "b", 0), ("long", "a", 1), *ROWS[2:]]
    assert fingerprint_of(swapped) != fingerprint_of(ROWS)


def test_the_fingerprint_changes_with_each_boundary_and_the_kind() -> None:
    split = leave_one_out(histories_of(ROWS))
    step = np.array([1, 0, 0, 0])
    others = [
        replace(split, **{name: getattr(split, name) - step})
        for name in ("train_end", "valid_end", "test_end")
    ]
    others.append(replace(split, kind="temporal"))
    assert len({other.fingerprint for other in [split, *others]}) == 5


def test_the_fingerprint_tells_integers_from_their_decimal_strings() -> None:
    integers: list[Row] = [(1, n, n) for n in range(4)]
    strings: list[Row] = [("1", n, n) for n in range(4)]
    assert fingerprint_of(integers) != fingerprint_of(strings)


def test_the_fingerprint_is_the_documented_one() -> None:
    """Bytes written out by hand from docs/data.md, so that the definition cannot drift."""

    def number(value: int, width: int) -> bytes:
        return value.to_bytes(width, "little", signed=True)

    split = leave_one_out(histories_of([(-7, "ä", 1), (-7, "b", 2), (-7, "ä", 3)]))
    text = b"grela split 1\nleave-one-out\n" + b"int64 1\n" + number(-7, 8)
    text += b"string 2\n" + number(1, 8) + b"b" + number(2, 8) + "ä".encode()
    text += b"lengths 1\n" + number(3, 8) + b"items 3\n" + number(2, 4) + number(1, 4) + number(2, 4)
    text += b"train_end 1\n" + number(1, 8) + b"valid_end 1\n" + number(2, 8) + b"test_end 1\n" + number(3, 8)
    assert split.fingerprint == hashlib.sha256(text).hexdigest()
