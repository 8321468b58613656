"""One cycle of the engine: all waiting jobs at once, with one append to the log, one step, one round of scores."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from grela.data.histories import HistoryBatch
from grela.errors import StateError
from grela.live.cache import Followed, StateCache
from grela.live.jobs import Answer, Follow, Forget, Job, Listed, Suggest, Wanted
from grela.live.measures import Measures
from grela.live.served import Served
from grela.ops.gaps import NO_TIME
from grela.serving.ranking import blocks
from grela.serving.state import Events, UserState
from grela.serving.stepper import recommend_to
from grela.store.protocol import START, Append, LoggedEvent, NewEvent, Store, StoredState, Tail, chronological

# N items

# A history of fewer events is stepped through; the parallel form costs less for a longer one.
STEPPED = 16

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Incoming:
    """One user's events of this cycle; `places`: which event of which job each is."""

    last_time: int | float | None
    events: list[NewEvent] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)


class Cycle:
    """What the engine's thread does with jobs; no two threads call it at a time.

    Others may append for the same users: no list is made before a look at the log.
    now: seconds since 1970, for events without a time
    """

    def __init__(
        self,
        store: Store,
        served: Served,
        cache: StateCache,
        measures: Measures,
        *,
        now: Callable[[], float],
    ) -> None:
        self.store = store
        self.served = served
        self.cache = cache
        self.measures = measures
        self.now = now

    def run(self, jobs: Sequence[Job]) -> list[Answer]:
        """The answers, in the order of the jobs. After an error nothing is in memory of the users that jobs name."""
        users = dict.fromkeys(user for job in jobs if isinstance(job, Follow) for user in named(job))
        try:
            remembered = {user: one for user in users if (one := self.cache.get(user)) is not None}
            followed = remembered | self._loaded([user for user in users if user not in remembered])
            incoming = self._incoming(jobs, followed)
            added = self._append(jobs, incoming, followed)
            # The state of any other user was made just now, from the log.
            self._catch_up({user: one for user, one in remembered.items() if user not in incoming})
            self.measures.hits += len(remembered)
            lists = self._lists(jobs, followed)
        except BaseException:
            for user in users:
                self.cache.drop(user)
            raise
        return [
            Answer(tuple(new), tuple(made), self._forget(job.user) if isinstance(job, Forget) else 0)
            for job, new, made in zip(jobs, added, lists, strict=True)
        ]

    def spill(self, states: Iterable[tuple[str, Followed]]) -> None:
        """Write states to the store."""
        model = self.served.fingerprint
        written = [
            (user, StoredState(one.position, self.served.codec.encode(one.state)))
            for user, one in states
            if one.position != START
        ]
        if written:
            self.store.put_states(model, written)
            self.measures.saved += len(written)

    def _loaded(self, users: list[str]) -> dict[str, Followed]:
        """States that are not in memory: from the store, with what the log has since."""
        if not users:
            return {}
        model, empty = self.served.fingerprint, self.served.stepper.empty
        followed = {}
        for user, stored in zip(users, self.store.get_states(users, model), strict=True):
            if stored is None:
                followed[user] = Followed(empty(), START, saved=True)
            else:
                followed[user] = self._stored(user, stored)
        self._catch_up(followed)
        return followed

    def _stored(self, user: str, stored: StoredState) -> Followed:
        """What the store has; where that is damaged, the log has all of it."""
        try:
            state = self.served.codec.decode(stored.payload, logged=stored.position.seq)
        except StateError as error:
            logger.error("the stored state of user %r is not used: %s", user, error)
            return Followed(self.served.stepper.empty(), START, saved=True)
        self.measures.loads += 1
        return Followed(state, stored.position, saved=True)

    def _catch_up(self, followed: dict[str, Followed]) -> None:
        """Take states to where the log ends."""
        if followed:
            tails = self.store.tails([(user, one.position) for user, one in followed.items()])
            self._fold([(user, one, tail) for (user, one), tail in zip(followed.items(), tails, strict=True)])

    def _append(
        self, jobs: Sequence[Job], incoming: dict[str, _Incoming], followed: dict[str, Followed]
    ) -> list[list[bool]]:
        """Log all events at once and take the states further; for each job which of its events were new."""
        added = [[False] * len(job.events) if isinstance(job, Follow) else [] for job in jobs]
        if not incoming:
            return added
        began = perf_counter()
        batch = [Append(user, tuple(new.events), followed[user].position) for user, new in incoming.items()]
        appended = self.store.append(batch)
        self.measures.append_seconds.add(perf_counter() - began)
        for new, done in zip(incoming.values(), appended, strict=True):
            for (job, place), was_new in zip(new.places, done.added, strict=True):
                added[job][place] = was_new
            self.measures.events += sum(done.added)
            self.measures.repeated += len(done.added) - sum(done.added)
        self._fold([(user, followed[user], done.tail) for user, done in zip(incoming, appended, strict=True)])
        return added

    def _incoming(self, jobs: Sequence[Job], followed: dict[str, Followed]) -> dict[str, _Incoming]:
        """Each user's new events; one without a time happens now, but not before the user's last one."""
        now = self.served.clock.at(self.now())
        incoming: dict[str, _Incoming] = {}
        for number, job in enumerate(jobs):
            for place, event in enumerate(job.events if isinstance(job, Follow) else ()):
                new = incoming.get(event.user)
                if new is None:
                    new = incoming[event.user] = _Incoming(followed[event.user].state.last_time)
                time = event.time
                if time is None:
                    time = now if new.last_time is None else max(now, new.last_time)
                new.last_time = time if new.last_time is None else max(time, new.last_time)
                new.events.append(NewEvent(event.item, time, event.id))
                new.places.append((number, place))
        return incoming

    def _fold(self, news: Sequence[tuple[str, Followed, Tail]]) -> None:
        """Take states to the ends of their tails, by steps where events follow, else from the whole history."""
        stepped: list[tuple[Followed, Events]] = []
        rebuilt: list[tuple[Followed, Events]] = []
        for user, one, tail in news:
            self._choose(user, one, tail, stepped, rebuilt)
        steps = self.served.stepper
        for (one, _), state in zip(
            stepped, steps.advance([one.state for one, _ in stepped], [e for _, e in stepped]), strict=True
        ):
            one.state, one.saved = state, False
        if rebuilt:
            histories = HistoryBatch.of([e.items for _, e in rebuilt], [e.times for _, e in rebuilt])
            for (one, _), state in zip(rebuilt, steps.rebuild(histories), strict=True):
                one.state, one.saved = state, False
            self.measures.rebuilds += len(rebuilt)
        for user, one, _ in news:
            self.cache.put(user, one)

    def _choose(
        self,
        user: str,
        one: Followed,
        tail: Tail,
        stepped: list[tuple[Followed, Events]],
        rebuilt: list[tuple[Followed, Events]],
    ) -> None:
        """How `one` gets to the end of `tail`; its position is there already afterwards."""
        one.position = tail.position
        if not tail.events and not tail.whole:
            return
        history = chronological(tail.events)
        if tail.whole:
            one.state = self.served.stepper.empty()
        elif one.state.last_time is not None and history[0].time < one.state.last_time:
            self.measures.late += 1
            whole = self.store.read(user)
            one.position, history = whole.position, chronological(whole.events)
            rebuilt.append((one, self._known(history)))
            return
        events = self._known(history)
        if tail.whole and len(events.items) >= STEPPED:
            rebuilt.append((one, events))
        elif len(events.items):
            stepped.append((one, events))

    def _known(self, history: Sequence[LoggedEvent]) -> Events:
        events = self.served.known(history)
        self.measures.unknown += len(history) - len(events.items)
        return events

    def _lists(self, jobs: Sequence[Job], followed: dict[str, Followed]) -> list[list[Listed]]:
        """For each job its lists; all that are wanted alike are made together."""
        alike: dict[Wanted, list[tuple[int, UserState]]] = {}
        for number, job in enumerate(jobs):
            if isinstance(job, Follow) and job.wanted is not None:
                states = [(number, followed[user].state) for user in job.users]
                alike.setdefault(job.wanted, []).extend(states)
        for (number, job), state in self._suggested(jobs):
            alike.setdefault(job.wanted, []).append((number, state))
        lists: list[list[Listed]] = [[] for _ in jobs]
        for wanted, asked in alike.items():
            made = self._made([state for _, state in asked], wanted)
            for (number, _), one in zip(asked, made, strict=True):
                lists[number].append(one)
            self.measures.lists += len(asked)
        return lists

    def _made(self, states: list[UserState], wanted: Wanted) -> list[Listed]:
        served, candidates = self.served, self.served.candidates(wanted)
        made: list[Listed] = []
        for part in blocks(len(states)):
            tops = recommend_to(served.stepper, served.fallback, states[part], candidates, wanted.k)
            made += [
                served.listed(top, cold_start=not state.events)
                for state, top in zip(states[part], tops, strict=True)
            ]
        return made

    def _suggested(self, jobs: Sequence[Job]) -> list[tuple[tuple[int, Suggest], UserState]]:
        """The states of histories that are not logged."""
        asked = [(number, job) for number, job in enumerate(jobs) if isinstance(job, Suggest)]
        if not asked:
            return []
        histories = [self._given(job) for _, job in asked]
        batch = HistoryBatch.of([e.items for e in histories], [e.times for e in histories])
        return list(zip(asked, self.served.stepper.rebuild(batch), strict=True))

    def _given(self, job: Suggest) -> Events:
        unknown_time = NO_TIME if self.served.clock.whole else np.nan
        times = [unknown_time] * len(job.items) if job.times is None else job.times
        pairs = [
            (dense, time)
            for item, time in zip(job.items, times, strict=True)
            if (dense := self.served.dense.get(item))
        ]
        return self.served.timed([dense for dense, _ in pairs], [time for _, time in pairs])

    def _forget(self, user: str) -> int:
        self.cache.drop(user)
        return self.store.delete(user)


def named(job: Follow) -> Iterable[str]:
    """The users whose states the job needs."""
    yield from (event.user for event in job.events)
    yield from job.users
