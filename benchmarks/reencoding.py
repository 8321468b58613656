"""What services do whose models keep no state: at each list a user's last events are encoded anew.

    python benchmarks/reencoding.py RUN --store FILE --window 200

The same service as `grela serve`, but for that; `load.py` starts it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grela.data.histories import HistoryBatch
from grela.live.loading import load_served
from grela.live.running import introduction
from grela.live.settings import Settings
from grela.live.worker import listen, serve
from grela.models.recgrela import RecGRELA
from grela.serving.ranking import Candidates, TopList
from grela.serving.state import Events, Layout, UserState
from grela.serving.stepper import Stepper


@dataclass(eq=False)
class Remembered(UserState):
    """A user's last events instead of sums."""

    items: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    times: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


class Reencoding:
    """A `Stepper` whose lists are computed from the last `window` events, each time from the first of them."""

    def __init__(self, inner: Stepper, window: int) -> None:
        self.inner = inner
        self.window = window

    @property
    def model(self) -> RecGRELA:
        return self.inner.model

    @property
    def layout(self) -> Layout:
        return self.inner.layout

    def empty(self) -> Remembered:
        bare = self.inner.empty()
        return Remembered(bare.recurrent, bare.met)

    def advance(self, states: Sequence[Remembered], events: Sequence[Events]) -> list[Remembered]:
        for state, new in zip(states, events, strict=True):
            state.items = np.concatenate([state.items, new.items])[-self.window :]
            state.times = np.concatenate([state.times.astype(new.times.dtype), new.times])[-self.window :]
            state.events += len(new.items)
            state.last_time = new.times[-1].item() if len(new.items) else state.last_time
        return list(states)

    def rebuild(self, batch: HistoryBatch) -> list[Remembered]:
        events = [Events(batch[b], batch.times[batch.start[b] : batch.end[b]]) for b in range(len(batch))]
        return self.advance([self.empty() for _ in events], events)

    def top(self, states: Sequence[Remembered], candidates: Candidates, k: int) -> list[TopList]:
        if not states:
            return []
        last = HistoryBatch.of([state.items for state in states], [state.times for state in states])
        return self.inner.top(self.inner.rebuild(last), candidates, k)


def main() -> None:
    """Serve until interrupted; the first line on stdout says where."""
    from dataclasses import replace

    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("run", type=Path)
    asked.add_argument("--store", required=True, help="an SQLite file with the run's histories in it")
    asked.add_argument("--window", type=int, required=True)
    asked.add_argument("--port", type=int, default=0)
    asked.add_argument("--not-durable", action="store_true")
    given = asked.parse_args()
    settings = Settings(run=given.run, store=given.store, port=given.port, durable=not given.not_durable)
    served = load_served(given.run)
    served = replace(served, stepper=Reencoding(served.stepper, given.window))
    listening = listen(settings, alone=True)
    address = listening.getsockname()[:2]
    serve(settings, listening, served, lambda: print(introduction(settings, address, served), flush=True))


if __name__ == "__main__":
    main()
