"""Whatever comes in whatever order, each list is that of a recompute from all acknowledged events."""

import threading
from concurrent.futures import Future
from itertools import count

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_cases import AFTER_LOG, ITEMS, USERS, seeded_store

from fit_cases import fitted
from grela.errors import RefusedError, StoreError
from grela.live.cache import StateCache
from grela.live.cycle import Cycle
from grela.live.engine import Engine
from grela.live.jobs import Follow, Forget, Happened, Suggest, Wanted
from grela.live.limits import Limits
from grela.live.loading import served_of
from grela.live.measures import Measures
from grela.store.memory import MemoryStore
from grela.store.protocol import Append, NewEvent, StoredState, chronological

WANTED = Wanted(5)


def cycle(store=None, *, memory: int = 10**8, now=lambda: AFTER_LOG) -> Cycle:
    store = seeded_store() if store is None else store
    return Cycle(store, served_of(fitted()), StateCache(memory), Measures(), now=now)


def shown(listed) -> list[tuple[str, float]]:
    return [(one["item"], one["score"]) for one in msgspec.json.decode(listed.items)]


def recomputed(store, user: str, wanted: Wanted = WANTED) -> list[tuple[str, float]]:
    """By the recommender, from the log."""
    history = chronological(store.read(user).events)
    (found,) = fitted().recommend(
        [[event.item for event in history]],
        times=[[event.time for event in history]],
        k=wanted.k,
        filter_seen=wanted.filter_seen,
        allow=wanted.allow,
        exclude=wanted.exclude,
    )
    return [(str(one.item), one.score) for one in found.items]


def check(got: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    """Scores within what float32 sums differ by; items the same but where scores are that close."""
    assert len(got) == len(expected)
    np.testing.assert_allclose([s for _, s in got], [s for _, s in expected], rtol=1e-4, atol=1e-4)
    for (item, score), (other, _) in zip(got, expected, strict=True):
        assert item == other or any(item == i and abs(s - score) < 1e-3 for i, s in expected)


def check_all(live: Cycle, users=USERS) -> None:
    answers = live.run([Follow((), (user,), WANTED) for user in users])
    for user, answer in zip(users, answers, strict=True):
        check(shown(answer.lists[0]), recomputed(live.store, user))


def event(user: str, item: str, time: int | None = None, id: str | None = None) -> Happened:
    return Happened(user, item, time, id)


def test_an_event_is_in_the_list_that_is_asked_with_it():
    live = cycle()
    before, after = (
        live.run([Follow((), ("100",), WANTED)]),
        live.run([Follow((event("100", "505"),), ("100",), WANTED)]),
    )
    assert after[0].added == (True,)
    assert shown(before[0].lists[0]) != shown(after[0].lists[0])
    check(shown(after[0].lists[0]), recomputed(live.store, "100"))


def test_a_new_user_begins_with_the_most_popular_items():
    live = cycle()
    (answer,) = live.run([Follow((), ("nobody",), WANTED)])
    assert answer.lists[0].cold_start
    check(shown(answer.lists[0]), recomputed(live.store, "nobody"))
    (answer,) = live.run([Follow((event("nobody", "510"),), ("nobody",), WANTED)])
    assert not answer.lists[0].cold_start
    check(shown(answer.lists[0]), recomputed(live.store, "nobody"))


EVENTS = st.builds(
    event,
    st.sampled_from([*USERS[:4], "new"]),
    st.sampled_from(ITEMS),
    st.none() | st.integers(1_699_000_000, 1_702_000_000),  # before, within and after the log
    st.none() | st.sampled_from(["a", "b", "c"]),
)
JOBS = st.one_of(
    st.builds(
        lambda events, ask: Follow(
            tuple(events), tuple({e.user: 0 for e in events}) if ask else (), WANTED if ask else None
        ),
        st.lists(EVENTS, min_size=1, max_size=4),
        st.booleans(),
    ),
    st.builds(Forget, st.sampled_from(USERS[:4])),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cycles=st.lists(st.lists(JOBS, min_size=1, max_size=4), min_size=1, max_size=6),
    memory=st.sampled_from([1, 10_000, 10**8]),
)
def test_after_any_jobs_every_list_is_that_of_a_recompute(cycles, memory):
    live = cycle(memory=memory)
    users = [*USERS[:4], "new"]
    for jobs in cycles:
        live.run(jobs)
        live.spill(live.cache.overflow())
        check_all(live, users)


def test_an_id_counts_once_in_one_batch_and_in_later_ones():
    live = cycle()
    jobs = [
        Follow((event("100", "505", id="x"), event("100", "506", id="x"))),
        Follow((event("100", "507", id="x"),)),
    ]
    first, second = live.run(jobs)
    assert (first.added, second.added) == ((True, False), (False,))
    assert live.run(jobs[1:])[0].added == (False,)
    assert len(live.store.read("100").events) == 13
    check_all(live, ["100"])


def test_a_late_event_takes_its_place_by_its_time():
    live = cycle()
    check_all(live, ["100"])
    live.run([Follow((event("100", "519", 1_700_000_000 + 43_200),))])
    assert live.measures.late == 1
    assert [one.item for one in chronological(live.store.read("100").events)][1] == "519"
    check_all(live, ["100"])


def test_an_event_without_a_time_is_never_before_the_last_one():
    clock = count(10)
    live = cycle(now=lambda: next(clock))
    live.run([Follow((event("100", "505"), event("100", "506", 1_900_000_000), event("100", "507")))])
    times = [one.time for one in live.store.read("100").events][-4:]
    assert times == [1_700_000_000 + 11 * 86_400, 1_700_000_000 + 11 * 86_400, 1_900_000_000, 1_900_000_000]
    check_all(live, ["100"])


def test_states_leave_memory_for_the_store_and_come_back():
    live = cycle(memory=10_000)
    check_all(live)
    live.spill(live.cache.overflow())
    assert live.cache.bytes <= 10_000
    rebuilt = live.measures.rebuilds
    live.run([Follow((event(user, "505"),)) for user in USERS])
    assert live.measures.saved
    assert live.measures.loads
    assert live.measures.rebuilds == rebuilt
    check_all(live)


def test_a_damaged_state_in_the_store_is_made_from_the_log_again(caplog):
    live = cycle(memory=1)
    check_all(live, ["100"])
    live.spill(live.cache.overflow())
    (stored,) = live.store.get_states(["100"], live.served.fingerprint)
    live.store.put_states(live.served.fingerprint, [("100", StoredState(stored.position, b"no state"))])
    check_all(live, ["100"])
    assert "is not used" in caplog.text


def test_engines_on_one_store_follow_each_other_and_whoever_else_logs():
    store = seeded_store()
    one, other = cycle(store), cycle(store)
    for number, live in enumerate([one, other, one, other, other, one]):
        live.run([Follow((event("100", ITEMS[number], AFTER_LOG + number),))])
        store.append([Append("101", (NewEvent(ITEMS[number], AFTER_LOG + number),))])
        for either in (one, other):
            check_all(either, ["100", "101"])


def test_a_user_deleted_elsewhere_begins_anew():
    live = cycle()
    check_all(live, ["100"])
    live.store.delete("100")
    check_all(live, ["100"])
    live.run([Follow((event("100", "505"),))])
    assert len(live.store.read("100").events) == 1
    check_all(live, ["100"])


def test_a_forgotten_user_is_nobody():
    live = cycle()
    assert live.run([Forget("100"), Forget("nobody")])[0].forgotten == 12
    (answer,) = live.run([Follow((), ("100",), WANTED)])
    assert answer.lists[0].cold_start


@pytest.mark.parametrize(
    "wanted",
    [Wanted(3, True), Wanted(4, None, ("501", "502", "503")), Wanted(20, False, None, ("501", "502"))],
)
def test_lists_keep_to_what_is_wanted(wanted):
    live = cycle()
    history = [str(item) for item in fitted().split.histories.catalogue.decode(fitted().split.histories[0])]
    user, given_history = live.run([Follow((), ("100",), wanted), Suggest(tuple(history), None, wanted)])
    check(shown(user.lists[0]), recomputed(live.store, "100", wanted))
    (expected,) = fitted().recommend(
        [history], k=wanted.k, filter_seen=wanted.filter_seen, allow=wanted.allow, exclude=wanted.exclude
    )
    check(shown(given_history.lists[0]), [(str(one.item), one.score) for one in expected.items])


def test_items_that_the_model_does_not_know_are_passed_over():
    store = seeded_store()
    store.append([Append("100", (NewEvent("unheard of", AFTER_LOG), NewEvent("505", AFTER_LOG + 1)))])
    live = cycle(store)
    check(shown(live.run([Follow((), ("100",), WANTED)])[0].lists[0]), recomputed(store, "100"))
    assert live.measures.unknown == 1


class Desk:
    """An engine on which futures of `concurrent.futures` wait."""

    def __init__(self, store=None, **more) -> None:
        self.engine = Engine(
            seeded_store() if store is None else store,
            served_of(fitted()),
            self._deliver,
            **{"memory": 10**8, "limits": Limits()} | more,
        )

    def _deliver(self, done) -> None:
        for future, outcome in done:
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def ask(self, job) -> Future:
        future: Future = Future()
        self.engine.submit(job, future)
        return future


class SlowStore(MemoryStore):
    """A store whose appends wait until they may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()
        self.batches: list[int] = []

    def append(self, batch):
        self.may.wait()
        self.batches.append(len(batch))
        return super().append(batch)


def test_jobs_that_wait_share_one_append():
    store = SlowStore()
    desk = Desk(store)
    desk.engine.start()
    first = desk.ask(Follow((event("a", "505"),)))
    others = [desk.ask(Follow((event(f"user {n}", "505"),))) for n in range(50)]
    store.may.set()
    assert all(one.result(30).added == (True,) for one in [first, *others])
    assert sum(store.batches) == 51
    assert len(store.batches) <= 3
    desk.engine.stop()


def test_a_full_queue_refuses_and_recovers():
    store = SlowStore()
    desk = Desk(store, limits=Limits(waiting=10))
    desk.engine.start()
    waiting = [desk.ask(Follow((event("a", "505", id=str(number)),))) for number in range(10)]
    with pytest.raises(RefusedError, match="wait already") as refused:
        desk.ask(Follow((event("a", "505"),)))
    assert refused.value.status == 503
    store.may.set()
    assert all(one.result(30).added == (True,) for one in waiting)
    assert desk.ask(Follow((event("a", "505"),))).result(30).added == (True,)
    assert desk.engine.measures.waiting == 0
    desk.engine.stop()


def test_stopping_serves_what_waits_and_saves_states():
    store = seeded_store()
    desk = Desk(store)
    asked = [desk.ask(Follow((event(user, "505"),), (user,), WANTED)) for user in USERS]
    desk.engine.start()
    desk.engine.stop()
    assert all(one.done() for one in asked)
    with pytest.raises(RefusedError, match="stopping"):
        desk.ask(Forget("100"))
    states = store.get_states(USERS, desk.engine.served.fingerprint)
    assert [state.position.seq for state in states] == [13] * len(USERS)


def test_a_store_that_fails_is_said_and_forgets_nothing():
    class Failing(MemoryStore):
        fails = False

        def append(self, batch):
            if self.fails:
                raise StoreError("the disk is full")
            return super().append(batch)

    store = Failing()
    desk = Desk(store)
    desk.engine.start()
    desk.ask(Follow((event("a", "505"),), ("a",), WANTED)).result(30)
    store.fails = True
    with pytest.raises(RefusedError, match="the disk is full") as refused:
        desk.ask(Follow((event("a", "506"),))).result(30)
    assert refused.value.status == 503
    store.fails = False
    answer = desk.ask(Follow((event("a", "507"),), ("a",), WANTED)).result(30)
    check(shown(answer.lists[0]), recomputed(store, "a"))
    assert [one.item for one in store.read("a").events] == ["505", "507"]
    desk.engine.stop()
