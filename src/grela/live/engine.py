"""The core without HTTP: jobs queue up while a cycle runs, and the next cycle does all of them at once.

So the log is written once for many requests (group commit), states are stepped and scored in batches, and the more
there is to do the less each costs. One thread owns all states.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Generic, TypeVar

from grela.errors import GrelaError, RefusedError, StoreError
from grela.live.cache import Followed, StateCache
from grela.live.cycle import Cycle
from grela.live.jobs import Answer, Job
from grela.live.limits import Limits
from grela.live.measures import Measures
from grela.live.served import Served
from grela.store.protocol import Store

Token = TypeVar("Token")
Outcome = Answer | RefusedError

# Past this size (events, lists, items of histories) a job waits for the next cycle, so that no cycle takes long.
CYCLE_SIZE = 1_024
SAVED_AT_ONCE = 256

logger = logging.getLogger(__name__)


class Engine(Generic[Token]):
    """One thread that serves jobs from a bounded queue.

    deliver: called by that thread after each cycle with each job's token and outcome, in the order of submission
    memory:  bytes of states kept; what is beyond is written to the store and taken from there when asked for
    """

    def __init__(
        self,
        store: Store,
        served: Served,
        deliver: Callable[[Sequence[tuple[Token, Outcome]]], None],
        *,
        memory: int,
        limits: Limits,
        measures: Measures | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.measures = Measures() if measures is None else measures
        self.measures.model = served.fingerprint
        self._cycle = Cycle(store, served, StateCache(memory), self.measures, now=now)
        self._deliver = deliver
        self._limits = limits
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Token, Job]] = deque()
        self._next_served: Served | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="grela engine", daemon=True)

    @property
    def served(self) -> Served:
        """The model that the current cycle uses, or the next one will."""
        return self._next_served or self._cycle.served

    @property
    def running(self) -> bool:
        """Whether jobs are taken and served."""
        return self._thread.is_alive() and not self._stopping

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def submit(self, job: Job, token: Token) -> None:
        """Queue a job; RefusedError, status 503, where the queue is full or the engine is stopping."""
        with self._changed:
            if self._stopping:
                raise RefusedError("the service is stopping; ask again in a moment", 503)
            waiting = self.measures.waiting + job.size
            if self._jobs and waiting > self._limits.waiting:
                self.measures.refused += 1
                raise RefusedError(
                    f"{self.measures.waiting:,} events and lists wait already, of {self._limits.waiting:,} at most; "
                    "ask again in a moment",
                    503,
                )
            self.measures.waiting = waiting
            self._jobs.append((token, job))
            self._changed.notify()

    def serve_from_now(self, served: Served) -> None:
        """Use another model from the next cycle on; states are made anew as users are asked for."""
        with self._changed:
            self._next_served = served
            self._changed.notify()

    def stop(self) -> None:
        """Serve what waits, write unsaved states to the store, and end. What is submitted meanwhile is refused."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            self._serve(batch)
            self._save(self._cycle.cache.overflow())
        self._save(self._cycle.cache.empty())

    def _take(self) -> list[tuple[Token, Job]]:
        """The next jobs, at most `CYCLE_SIZE` together unless the first alone is larger; none: it is time to end."""
        with self._changed:
            while not self._jobs:
                if self._next_served is not None:
                    self._change_model(self._next_served)
                elif self._stopping:
                    return []
                else:
                    self._changed.wait()
            if self._next_served is not None:
                self._change_model(self._next_served)
            batch, size = [self._jobs.popleft()], 0
            while self._jobs and (size := size + batch[-1][1].size) < CYCLE_SIZE:
                batch.append(self._jobs.popleft())
            return batch

    def _change_model(self, served: Served) -> None:
        self._next_served = None
        if served.fingerprint != self._cycle.served.fingerprint:
            self._cycle.cache.empty()
        else:  # the catalogue changed: an item that was skipped may be known now
            self._cycle.cache.drop_those_that_skipped()
        self._cycle.served = served
        self.measures.model = served.fingerprint

    def _serve(self, batch: Sequence[tuple[Token, Job]]) -> None:
        """One cycle, and its outcomes delivered."""
        began = perf_counter()
        outcomes: Sequence[Outcome]
        try:
            outcomes = self._cycle.run([job for _, job in batch])
        except StoreError as error:
            logger.error("the store failed: %s", error)
            outcomes = [RefusedError(f"the store failed: {error}; ask again in a moment", 503)] * len(batch)
        except Exception:
            logger.exception("a cycle of %d jobs failed", len(batch))
            outcomes = [RefusedError("the service failed; its log says why", 500)] * len(batch)
        self.measures.cycle_seconds.add(perf_counter() - began)
        self.measures.cycle_jobs.add(len(batch))
        cache = self._cycle.cache
        self.measures.states, self.measures.state_bytes = len(cache), cache.bytes
        with self._changed:
            self.measures.waiting -= sum(job.size for _, job in batch)
        self._deliver([(token, outcome) for (token, _), outcome in zip(batch, outcomes, strict=True)])

    def _save(self, states: Sequence[tuple[str, Followed]]) -> None:
        """Write states to the store. It is a cache: where that fails they are made from the log again."""
        try:
            for low in range(0, len(states), SAVED_AT_ONCE):
                self._cycle.spill(states[low : low + SAVED_AT_ONCE])
        except GrelaError as error:
            logger.error("%d states were not written to the store: %s", len(states), error)
