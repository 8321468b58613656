"""A session recommends what the recommender does for the same history and times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit_cases import fitted, history_of, log, small_config, times_of
from grela import Recommender
from grela.errors import ConfigError, RequestError

USER = 103


def close(found, expected) -> None:
    """The same lists, scores within rounding, but for neighbours whose scores are equal within it."""
    assert (found.user, found.unknown, found.cold_start) == (
        expected.user,
        expected.unknown,
        expected.cold_start,
    )
    assert len(found.items) == len(expected.items)
    for a, b in zip(found.items, expected.items, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-4)
        assert a.item == b.item or a.score == pytest.approx(b.score, abs=1e-5)
        assert a.title == b.title or a.item != b.item


def test_a_known_users_session_has_the_users_history():
    rec = fitted()
    session = rec.session(USER)
    assert session.events == len(history_of(USER))
    (expected,) = rec.recommend([USER])
    close(session.recommend(), expected)
    assert rec.session(str(USER)).user == USER


def test_a_new_users_session_is_cold_until_its_first_event():
    rec = fitted()
    session = rec.session("somebody new")
    found = session.recommend(3)
    (expected,) = rec.recommend([[]], k=3)
    assert found.cold_start
    assert found.items == expected.items
    assert found.user == "somebody new"
    session.add(505)
    assert not session.recommend(3).cold_start


@settings(deadline=None, max_examples=25)
@given(
    picks=st.lists(st.integers(500, 519), max_size=40),
    gaps=st.lists(st.integers(0, 10**9), min_size=40, max_size=40),
    timed=st.booleans(),
    known=st.booleans(),
    k=st.integers(1, 30),
    filter_seen=st.sampled_from([None, True, False]),
    exclude=st.lists(st.integers(500, 519), max_size=3),
    allow=st.none() | st.lists(st.integers(500, 519), min_size=1, max_size=12),
)
def test_a_session_recommends_what_its_history_would(
    picks, gaps, timed, known, k, filter_seen, exclude, allow
):
    rec = fitted()
    before = (history_of(USER), times_of(USER)) if known and timed else ([], [])
    session = rec.session(USER if before[0] else "new")
    start = before[1][-1] if before[1] else 1_700_000_000
    times = (start + np.cumsum(gaps[: len(picks)])).tolist()
    for item, time in zip(picks, times, strict=True):
        session.add(item, time if timed else None)
    asked = {"k": k, "filter_seen": filter_seen, "exclude": exclude, "allow": allow}
    whole = [[*before[1], *times]] if timed else None
    (expected,) = rec.recommend([[*before[0], *picks]], times=whole, **asked)
    found = session.recommend(asked.pop("k"), **asked)
    close(found, type(expected)(found.user, expected.items, expected.unknown, expected.cold_start))


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ((999, None), "item has the unknown item 999"),
        (([500], None), r"item has .500. at place 0, expected an id"),
        ((500, 5), "before the last event's, .*make a new one"),
        ((500, "yesterday"), "this log's times are plain numbers"),
        ((500, float("nan")), "expected a finite number"),
        ((500, 2**62), "a time beyond"),
        ((500, 10**400), "a time beyond"),
        ((500, True), "expected a finite number"),
    ],
)
def test_a_refused_event_leaves_the_session_as_it_was(event, message):
    session = fitted().session(USER)
    before = session.recommend()
    with pytest.raises(RequestError, match=message):
        session.add(*event)
    assert session.recommend() == before
    assert session.events == len(history_of(USER))


def test_bad_questions_are_refused_as_the_recommenders_are():
    session = fitted().session(USER)
    for asked, message in (
        ({"k": 0}, "k is 0"),
        ({"allow": [999]}, "allow has the unknown item"),
        ({"exclude": "500"}, "expected a list"),
    ):
        with pytest.raises(RequestError, match=message):
            session.recommend(**asked)
    with pytest.raises(RequestError, match="expected an id"):
        fitted().session(None)


def test_sessions_of_one_user_share_nothing():
    rec = fitted()
    one, other = rec.session(USER), rec.session(USER)
    kept, before = one.state, other.recommend()
    one.add(500)
    assert other.recommend() == before
    assert kept.events == other.events == one.events - 1


def test_a_bidirectional_model_has_no_sessions():
    model = {"width": 8, "heads": 2, "layers": 1, "form": "bidirectional"}
    rec = Recommender.fit(log(users=5), config=small_config(model=model, training={"epochs": 1}))
    with pytest.raises(ConfigError, match=r"this model is bidirectional.*only a causal"):
        rec.session(USER)
