"""Messages of a topic as events: what is taken, what is not, and why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grela.errors import RefusedError
from grela.live.ids import Clock
from grela.live.kafka import sorted_out
from grela.live.messages import Catalogue, Message
from grela.store.checking import check_batch
from grela.store.protocol import Append, NewEvent

NUMBERS = Catalogue(frozenset({"1", "50"}), True, True, Clock("given", True))
TEXTS = Catalogue(frozenset({"a", "é"}), False, False, Clock("us", True))


def message(value: object, *, sent: float | None = 1700000000.25, offset: int = 7) -> Message:
    text = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Message("events", 3, offset, text, sent)


def test_an_event_has_canonical_ids_and_its_own_time():
    found = NUMBERS.event(message({"user": "007", "item": 50, "time": 12, "id": "x"}))
    assert found == Append("7", (NewEvent("50", 12, "x"),))
    assert TEXTS.event(message({"user": 7, "item": "é", "time": "2023-01-31T00:00:00Z"})) == Append(
        "7", (NewEvent("é", 1675123200000000, "events/3/7"),)
    )


def test_without_an_id_the_place_names_it_and_without_a_time_it_happened_when_sent():
    assert NUMBERS.event(message({"user": 1, "item": 1})).events == (NewEvent("1", 1700000000, "events/3/7"),)
    assert TEXTS.event(message({"user": "u", "item": "a"})).events == (
        NewEvent("a", 1700000000250000, "events/3/7"),
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "there is no value"),
        (b"", "no JSON"),
        (b'{"user": 1, "item": ', "no JSON"),
        (b'\xff{"user": 1}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"user": 1, "item": 1, "time": ' + b"9" * 5000 + b"}", "no JSON"),
        (b'{"user": 1, "item": 1, "time": NaN}', "NaN is no number"),
        ([1], "a list, expected an object"),
        ({}, "user is None"),
        ({"user": 1}, "item is None"),
        ({"user": True, "item": 1}, "user is True"),
        ({"user": 1, "item": 1.0}, "item is 1.0"),
        ({"user": "", "item": 1}, "user has 0 characters"),
        ({"user": "\ud800", "item": 1}, "U\\+D800"),
        ({"user": "a\u0000", "item": 1}, "U\\+0000"),
        ({"user": 2**63, "item": 1}, "64 bits"),
        ({"user": 1, "item": 2}, "item is '2', which is not among the 2 items"),
        ({"user": 1, "item": 1, "time": 10**400}, "beyond"),
        ({"user": 1, "item": 1, "time": "2023-01-31"}, "plain numbers"),
        ({"user": 1, "item": 1, "time": [1]}, "expected a finite number"),
        (b'{"user": 1, "item": 1, "time": 1e999}', "expected a finite number"),
        ({"user": 1, "item": 1, "time": 1.5}, "whole"),
        ({"user": 1, "item": 1, "id": 7}, "id is 7, expected text"),
        ({"user": 1, "item": 1, "id": "x" * 300}, "id has 300 characters"),
        ({"user": 1, "item": 1, "timestamp": 1}, "a field 'timestamp'"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(value, says):
    with pytest.raises(RefusedError, match=says):
        NUMBERS.event(message(value))


def test_a_topic_without_stamps_needs_times():
    with pytest.raises(RefusedError, match=r"there is no time"):
        NUMBERS.event(message({"user": 1, "item": 1}, sent=None))


def test_the_good_go_on_beside_the_bad_in_their_order():
    values = [
        {"user": 1, "item": 1},
        b"?",
        {"user": 2, "item": 50},
        {"user": 1, "item": 3},
        {"user": 1, "item": 50},
    ]
    events, rejected = sorted_out([message(one, offset=at) for at, one in enumerate(values)], NUMBERS)
    assert [(one.user, one.events[0].item, one.events[0].id) for one in events] == [
        ("1", "1", "events/3/0"),
        ("2", "50", "events/3/2"),
        ("1", "50", "events/3/4"),
    ]
    assert [one.message.place for one in rejected] == ["events/3/1", "events/3/3"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1é\ud800\0 ", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
EVENTS = st.fixed_dictionaries(
    {}, optional={"user": JSON, "item": st.sampled_from([1, "50"]) | JSON, "time": JSON, "id": JSON}
)


@given(st.binary(max_size=40) | EVENTS.map(lambda one: json.dumps(one).encode()))
def test_whatever_comes_is_an_event_that_can_be_logged_or_refused(value):
    for catalogue in (NUMBERS, TEXTS):
        events, rejected = sorted_out([message(value)], catalogue)
        check_batch(events)
        assert len(events) + len(rejected) == 1
