"""What an event of a user costs, by PyTorch and compiled, and whether it costs the same after many.

    python benchmarks/step.py --run runs/ml-1m
    python benchmarks/step.py --items 3400

On one core, all ways in turn in one process, by processor time: events and scores of one user and of many; then one
event after 10 and up to a million. Without a run the model is the default one with made-up weights.
"""

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from made_up import measured_model, parser_of

from grela.data.histories import HistoryBatch
from grela.models.recgrela import RecGRELA
from grela.serving.codec import StateCodec
from grela.serving.compiled_stepper import CompiledStepper
from grela.serving.ranking import Candidates
from grela.serving.scorer import ModelScorer
from grela.serving.state import Events, UserState
from grela.serving.stepper import Stepper, TorchStepper

LENGTHS = (10, 1_000, 100_000, 1_000_000)
START = 1_700_000_000
REENCODED = 200  # events of a history that a service without states would read again


class Users:
    """Users with histories behind them, each taken further again and again."""

    def __init__(self, stepper: Stepper, count: int, length: int = 100) -> None:
        self.stepper = stepper
        self.rng = np.random.default_rng(0)
        self.items = stepper.model.config.num_items
        self.now = START
        self.states = stepper.advance([stepper.empty() for _ in range(count)], self.events(count, length))

    def events(self, users: int, each: int) -> list[Events]:
        """The next events of every user, a thousand units of time apart."""
        times = self.now + 1_000 * np.arange(1, each + 1)
        self.now += 1_000 * each
        drawn = self.rng.integers(1, self.items + 1, (users, each)).astype(np.int32)
        return [Events(row, times) for row in drawn]

    def step(self) -> None:
        """One event of one user."""
        self.now += 1_000
        self.stepper.step(self.states[0], int(self.now // 1_000 % self.items + 1), self.now)

    def advancing(self, each: int) -> Callable[[], None]:
        """A call that takes all users further by the same events, prepared beforehand."""
        events = self.events(len(self.states), each)
        return lambda: void(self.stepper.advance(self.states, events))


def void(_: Any) -> None:
    """Nothing."""


def ways(model: RecGRELA, many: int) -> dict[str, tuple[Callable[[], None], int]]:
    """What is measured, by name: a call, and how many events or users it serves."""
    everything = Candidates.of(model.config.num_items, None, np.zeros(0, np.int64), filter_seen=False)
    by_torch, compiled = TorchStepper(model), CompiledStepper(model)
    found: dict[str, tuple[Callable[[], None], int]] = {}
    for name, stepper in (("torch", by_torch), ("compiled", compiled)):
        single = Users(stepper, 1)
        found[f"event of one user, {name}"] = (single.step, 1)
        for users, each in ((32, 1), (many, 1), (64, 8), (8, 200)):
            if stepper is compiled or users == 32:
                moved = Users(stepper, users, 10)
                found[f"{each} of {users} users at once, {name}"] = (moved.advancing(each), users * each)
        found[f"scores of one user, {name}"] = (_scores(stepper, single.states), 1)
        found[f"top 10 of one user, {name}"] = (_top(stepper, single.states, everything), 1)
    several = Users(compiled, 64)
    found["top 10 of 64 users, compiled"] = (_top(compiled, several.states, everything), 64)
    codec, state = StateCodec(model), several.states[0]
    payload = codec.encode(state)
    found["encode a state"] = (lambda: void(codec.encode(state)), 1)
    found["decode a state"] = (lambda: void(codec.decode(payload)), 1)
    history = HistoryBatch.of([e.items for e in several.events(1, REENCODED)])
    scorer = ModelScorer(model, window=REENCODED)
    found[f"re-reading {REENCODED} events and scores, torch"] = (lambda: void(scorer.scores(history)), 1)
    found[f"rebuilding a state of {REENCODED} events, compiled"] = (
        lambda: void(compiled.rebuild(history)),
        1,
    )
    return found


def _scores(stepper: Stepper, states: list[UserState]) -> Callable[[], None]:
    return lambda: void(stepper.scores(states))


def _top(stepper: Stepper, states: list[UserState], chosen: Candidates) -> Callable[[], None]:
    return lambda: void(stepper.top(states, chosen, 10))


def timed(call: Callable[[], None], seconds: float) -> float:
    """Processor seconds of a call, over as many as take so long together."""
    call()
    start, calls = time.process_time(), 0
    while time.process_time() - start < seconds:
        call()
        calls += 1
    return (time.process_time() - start) / calls


def speeds(model: RecGRELA, *, many: int, rounds: int, seconds: float) -> dict[str, float]:
    """Microseconds per event, or per user, of each way: the median of rounds in which all take turns."""
    calls = ways(model, many)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, count) in calls.items():
            taken[name].append(timed(call, seconds) / count * 1e6)
    return {name: median(each) for name, each in taken.items()}


def growth(model: RecGRELA, *, rounds: int, seconds: float) -> dict[int, dict[str, float]]:
    """After so many events of one user: microseconds of one more, bytes of the state, items met."""
    stepper, codec = CompiledStepper(model), StateCodec(model)
    users = {length: Users(stepper, 1, length) for length in LENGTHS}
    taken: dict[int, list[float]] = {length: [] for length in LENGTHS}
    sizes = {
        length: {"bytes": len(codec.encode(one.states[0])), "items met": len(one.states[0].met)}
        for length, one in users.items()
    }
    for _ in range(rounds):
        for length, one in users.items():
            one.states[0] = stepper.advance([stepper.empty()], one.events(1, length))[0]
            taken[length].append(timed(one.step, seconds) * 1e6)
    return {length: {"microseconds": median(taken[length]), **sizes[length]} for length in LENGTHS}


def main() -> None:
    """Print two tables and write JSON."""
    parser = parser_of(__doc__)
    parser.add_argument("--many", type=int, default=512, help="users of the large batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="of processor time, for each way and round"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = measured_model(parser, arguments)
    found = speeds(model, many=arguments.many, rounds=arguments.rounds, seconds=arguments.seconds)
    for name, microseconds in found.items():
        print(f"{name:50} {microseconds:10.2f} us {1e6 / microseconds:12,.0f} a second")
    of_length = growth(model, rounds=arguments.rounds, seconds=arguments.seconds)
    for length, facts in of_length.items():
        print(
            f"after {length:9,} events: {facts['microseconds']:8.2f} us an event, {facts['bytes']:,} bytes, "
            f"{facts['items met']:,} items met"
        )
    if arguments.json:
        result = {"speeds": found, "growth": of_length}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
