"""Any sequence of calls, on each store and on a naive dict side by side."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from store_cases import Follower

from grela.store.protocol import START, Append, NewEvent, StoredState

USERS = st.sampled_from(["a", "b", "ü", "user\x00"])
EVENTS = st.builds(
    NewEvent,
    item=st.sampled_from(["1", "2", "é"]),
    time=st.one_of(st.integers(-5, 5), st.floats(-5, 5)),
    id=st.one_of(st.none(), st.sampled_from(["x", "y", "z"])),
)
KNOWN = st.sampled_from(["start", "followed", "beyond", "foreign"])


class StoreMachine(RuleBasedStateMachine):
    """`expected`: user to a list of (item, time, id); written down again, without looking at any store."""

    make = None

    @initialize()
    def begin(self) -> None:
        self.store = type(self).make()
        self.expected: dict[str, list[tuple]] = {}
        self.generations: dict[str, int] = {}
        self.followers: dict[str, Follower] = {}
        self.states: dict[str, tuple[str, StoredState]] = {}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def known(self, user: str, how: str):
        position = self.followers.setdefault(user, Follower()).position
        return {
            "start": START,
            "followed": position,
            "beyond": position._replace(seq=position.seq + 100),
            "foreign": position._replace(generation=position.generation + 1),
        }[how]

    @rule(batch=st.lists(st.tuples(USERS, st.lists(EVENTS, max_size=4), KNOWN), max_size=4))
    def append(self, batch) -> None:
        entries = [Append(user, tuple(events), self.known(user, how)) for user, events, how in batch]
        for entry, found in zip(entries, self.store.append(entries), strict=True):
            added = []
            for one in entry.events:
                held = self.expected.setdefault(entry.user, [])
                new = one.id is None or one.id not in [name for _, _, name in held]
                added.append(new)
                if new:
                    held.append((one.item, one.time, one.id))
            assert found.added == tuple(added)
            self.check(entry.user, entry.known, found.tail)

    @rule(user=USERS, how=KNOWN)
    def read(self, user, how) -> None:
        known = self.known(user, how)
        self.check(user, known, self.store.read(user, known))

    def check(self, user, known, tail) -> None:
        held = self.expected.get(user, [])
        position = tail.position
        assert position.seq == len(held)
        if held:
            assert position.generation == self.generations.setdefault(user, position.generation) != 0
        else:
            assert position == START
        same = known.generation == position.generation != 0 and known.seq <= len(held)
        assert tail.whole == (not same)
        first = known.seq if same else 0
        found = [(one.seq, one.item, one.time, one.id) for one in tail.events]
        assert found == [(n, *one) for n, one in enumerate(held[first:], first + 1)]
        assert [type(one.time) for one in tail.events] == [type(at) for _, at, _ in held[first:]]
        if known == self.followers[user].position:
            self.followers[user].fold(tail)

    @rule(user=USERS)
    def delete(self, user) -> None:
        assert self.store.delete(user) == len(self.expected.pop(user, []))
        old = self.generations.pop(user, None)
        self.states.pop(user, None)
        assert old is None or old != self.store.append([Append(user, ())])[0].tail.position.generation

    @rule(
        user=USERS, model=st.sampled_from(["m", "n"]), back=st.integers(0, 2), payload=st.binary(max_size=9)
    )
    def put(self, user, model, back, payload) -> None:
        position = self.followers.setdefault(user, Follower()).position
        state = StoredState(position._replace(seq=max(0, position.seq - back)), payload)
        self.store.put_states(model, [(user, state)])
        if self.expected.get(user) and position.generation == self.generations[user]:
            held = self.states.get(user)
            if held is None or held[0] != model or held[1].position.seq <= state.position.seq:
                self.states[user] = (model, state)

    @rule()
    def compact(self) -> None:
        self.store.compact()

    @invariant()
    def states_and_users_are_as_expected(self) -> None:
        if not hasattr(self, "store"):
            return
        assert sorted(self.store.users()) == sorted(user for user, held in self.expected.items() if held)
        users = ["a", "b", "ü", "user\x00"]
        for model in ("m", "n"):
            expected = [self.states.get(user, (None, None)) for user in users]
            assert self.store.get_states(users, model) == [
                state if name == model else None for name, state in expected
            ]


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_any_calls_in_any_order_do_what_a_dict_would(kind, request, tmp_path):
    from grela.store.memory import MemoryStore
    from grela.store.sqlite import SqliteStore

    numbers = iter(range(10_000))
    if kind == "memory":
        make = MemoryStore
    elif kind == "sqlite":
        # Whether the disk has it is not asked here, so nothing waits for the disk.
        make = lambda: SqliteStore(tmp_path / str(next(numbers)), durable=False)  # noqa: E731
    else:
        url = request.getfixturevalue("redis_url")
        from grela.store.redis import RedisStore

        make = lambda: RedisStore(url, prefix=f"machine-{next(numbers)}")  # noqa: E731
    machine = type("Machine", (StoreMachine,), {"make": staticmethod(make)})
    checks = settings(
        max_examples=15 if kind == "redis" else 40,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=checks)
