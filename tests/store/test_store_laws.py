"""What every store does, whichever it is."""

import math

import pytest
from store_cases import Follower, event, items, log

from grela.errors import EventError
from grela.store.protocol import (
    START,
    Append,
    LoggedEvent,
    NewEvent,
    Position,
    StoredState,
    Tail,
    chronological,
)


def test_a_user_who_is_not_there_has_an_empty_whole_tail_at_the_start(store):
    assert store.read("u") == Tail(START, (), whole=True)
    assert log(store, "u").tail == Tail(START, (), whole=True)
    assert list(store.users()) == []


def test_events_are_numbered_in_the_order_in_which_they_were_logged(store):
    first = log(store, "u", event(3, 30), event(1, 10))
    second = log(store, "u", event(2, 20), known=first.tail.position)
    assert first.added == (True, True)
    assert [(one.seq, one.item, one.time) for one in first.tail.events] == [(1, "3", 30), (2, "1", 10)]
    assert second.tail.events == (LoggedEvent(3, "2", 20, None),)
    assert not second.tail.whole
    assert items(store.read("u")) == ["3", "1", "2"]


def test_history_is_by_time_and_then_by_number(store):
    log(store, "u", event("c", 5), event("a", 1), event("d", 5), event("b", 1.5))
    assert [one.item for one in chronological(store.read("u").events)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "at", [0, -(2**62) + 1, 2**62 - 1, 0.0, -0.5, 1e308, 5e-324, 3.0, 1_700_000_000_000_001]
)
def test_times_come_back_as_they_were_with_their_type(store, at):
    log(store, "u", event(1, at))
    found = store.read("u").events[0].time
    assert (found, type(found)) == (at, type(at))


@pytest.mark.parametrize(
    "text", ["7", "é€😀", "a\x00b", "new\nline", " ", '["x"]', "'; DROP TABLE events; --", "x" * 5000]
)
def test_texts_come_back_as_they_were(store, text):
    log(store, text, NewEvent(text, 1, text))
    assert store.read(text).events == (LoggedEvent(1, text, 1, text),)
    assert list(store.users()) == [text]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (NewEvent("", 1), "item is ''"),
        (NewEvent("\ud800", 1), "surrogate"),
        (NewEvent(7, 1), "item is 7"),
        (NewEvent("a", math.nan), "finite"),
        (NewEvent("a", -math.inf), "finite"),
        (NewEvent("a", 2**62), "63 bits"),
        (NewEvent("a", True), "time is True"),
        (NewEvent("a", "1"), "time is '1'"),
        (NewEvent("a", 1, ""), "id is ''"),
        (NewEvent("a", 1, "\udfff"), "surrogate"),
    ],
)
def test_an_event_that_cannot_be_logged_logs_nothing_of_its_batch(store, bad, says):
    with pytest.raises(EventError, match=f"entry 1.*event 1.*{says}"):
        store.append([Append("u", (event(1),)), Append("v", (event(1), bad))])
    assert list(store.users()) == []


@pytest.mark.parametrize("user", ["", "\ud800", 7, None])
def test_a_user_is_text(store, user):
    with pytest.raises(EventError, match=r"entry 0: the user is"):
        log(store, user, event(1))


def test_a_repeated_id_is_not_logged_again_and_the_first_event_counts(store):
    log(store, "u", event("a", 1, "x"))
    again = log(store, "u", event("b", 2, "y"), event("other", 9, "x"), event("b", 2, "y"))
    assert again.added == (True, False, False)
    assert items(again.tail) == ["a", "b"]
    # A retry of all of it adds nothing, and the writer sees the same.
    retry = log(store, "u", event("a", 1, "x"), event("b", 2, "y"))
    assert retry.added == (False, False)
    assert retry.tail == store.read("u") == again.tail


def test_an_id_is_of_one_user_and_events_without_are_always_new(store):
    log(store, "u", event("a", 1, "x"))
    assert log(store, "v", event("a", 1, "x")).added == (True,)
    assert log(store, "u", event("a", 1), event("a", 1)).added == (True, True)


def test_a_batch_may_name_a_user_often(store):
    found = store.append(
        [
            Append("u", (event("a", 1, "x"),)),
            Append("v", (event("b", 1),)),
            Append("u", (event("a", 1, "x"), event("c", 2))),
            Append("u", ()),
        ]
    )
    assert [items(one.tail) for one in found] == [["a"], ["b"], ["a", "c"], ["a", "c"]]
    assert [one.added for one in found] == [(True,), (True,), (False, True), ()]
    assert found[0].tail.position.generation == found[2].tail.position.generation


def test_a_batch_is_what_its_entries_are_one_by_one(store):
    """More users and events than any statement takes at a time, with ids that were there, and twice in the batch."""
    users = [f"user {number}" for number in range(1_500)]
    log(store, "user 3", event(0, 0, "there"), event(0, 0, "5"))
    before = store.read("user 3").position
    batch = [Append(user, (event(1, 1, "5"), event(2, 2), event(3, 3, "5"))) for user in users]
    batch.insert(700, Append("user 1", (event(4, 4, "5"), event(4, 4, "6")), START))
    batch.append(Append("user 3", (event(5, 5),), before))
    done = store.append(batch)
    assert [one.added for one in done[:3]] == [(True, True, False)] * 3
    assert done[3].added == (False, True, False)
    assert done[700].added == (False, True)
    assert items(done[700].tail) == ["1", "2", "4"]
    assert items(done[-1].tail) == ["2", "5"]
    assert [one.seq for one in store.read("user 3").events] == [1, 2, 3, 4]
    assert all(items(tail) == ["1", "2"] for tail in store.tails([(user, START) for user in users[4:]]))


def test_an_empty_batch_is_nothing(store):
    assert store.append([]) == []


def test_tails_hold_what_others_have_logged(store):
    ours, theirs = Follower(), Follower()
    for number in range(7):
        for who in (ours, theirs):
            who.fold(log(store, "u", event(number, number), known=who.position).tail)
            assert not number or not log(store, "u", known=who.position).tail.whole
    ours.fold(store.read("u", ours.position))
    assert ours.events == theirs.events
    assert len(ours.events) == 14


def test_tails_of_many_are_those_of_each(store):
    ends = {user: log(store, user, event(1), event(2)).tail.position for user in ("a", "b", "c")}
    log(store, "b", event(3), known=ends["b"])
    store.delete("c")
    asked = [*ends.items(), ("nobody", START), ("b", START), ("a", ends["a"]._replace(seq=1)), ("c", START)]
    tails = store.tails(asked)
    assert tails == [store.read(user, known) for user, known in asked]
    assert [items(tail) for tail in tails] == [[], ["3"], [], [], ["1", "2", "3"], ["2"], []]
    assert [tail.whole for tail in tails] == [False, False, True, True, True, False, True]
    assert store.tails([]) == []


def test_reading_from_where_one_is_gives_nothing_new(store):
    position = log(store, "u", event(1), event(2)).tail.position
    assert store.read("u", position) == Tail(position, (), whole=False)
    assert items(store.read("u", position._replace(seq=1))) == ["2"]


def test_a_position_of_another_or_beyond_the_end_gives_the_whole(store):
    position = log(store, "u", event(1), event(2)).tail.position
    for known in (START, Position(position.generation + 1, 1), position._replace(seq=3)):
        tail = store.read("u", known)
        assert (tail.whole, items(tail), tail.position) == (True, ["1", "2"], position)
        assert log(store, "u", known=known).tail == tail


def test_a_user_who_was_deleted_and_came_back_is_another(store):
    before = log(store, "u", event("old", 1, "x")).tail.position
    assert store.delete("u") == 1
    assert store.delete("u") == 0
    assert store.read("u", before) == Tail(START, (), whole=True)
    assert list(store.users()) == []
    after = log(store, "u", event("new", 2, "x"), known=before)
    assert after.added == (True,)
    assert after.tail.whole
    assert items(after.tail) == ["new"]
    assert after.tail.position.generation != before.generation


def test_users_are_all_users(store):
    names = {f"user {number}" for number in range(2500)}
    store.append([Append(name, (event(1),)) for name in sorted(names)])
    listed = list(store.users())
    assert len(listed) == 2500
    assert set(listed) == names


def test_a_state_is_of_its_model(store):
    position = log(store, "u", event(1)).tail.position
    store.put_states("model a", [("u", StoredState(position, b"\x00\xff"))])
    assert store.get_states(["v", "u"], "model a") == [None, StoredState(position, b"\x00\xff")]
    assert store.get_states(["u"], "model b") == [None]
    # One state is kept; a state of another model takes its place, however few events it has seen.
    log(store, "u", event(2))
    store.put_states("model a", [("u", StoredState(position._replace(seq=2), b"2"))])
    store.put_states("model b", [("u", StoredState(position, b"b"))])
    assert store.get_states(["u"], "model a") == [None]
    assert store.get_states(["u"], "model b") == [StoredState(position, b"b")]


def test_the_state_that_has_seen_more_stays(store):
    position = log(store, "u", event(1), event(2)).tail.position
    for seq, payload in ((1, b"1"), (2, b"2"), (1, b"1 again")):
        store.put_states("m", [("u", StoredState(position._replace(seq=seq), payload))])
    assert store.get_states(["u"], "m") == [StoredState(position, b"2")]


def test_a_state_never_outlives_its_user(store):
    position = log(store, "u", event(1)).tail.position
    state = StoredState(position, b"of before")
    store.put_states("m", [("u", state)])
    store.delete("u")
    store.put_states("m", [("u", state)])
    assert store.get_states(["u"], "m") == [None]
    log(store, "u", event(1))
    store.put_states("m", [("u", state)])
    assert store.get_states(["u"], "m") == [None]


def test_compacting_changes_nothing_that_is_there(store):
    position = log(store, "u", *(event(number, number, str(number)) for number in range(50))).tail.position
    log(store, "gone", event(1))
    store.put_states("m", [("u", StoredState(position, b"s"))])
    store.delete("gone")
    before = store.read("u")
    store.compact()
    assert store.read("u") == before
    assert store.get_states(["u"], "m") == [StoredState(position, b"s")]
    assert list(store.users()) == ["u"]
    assert log(store, "u", event(1, 1, "1"), known=position).added == (False,)
