"""One worker as its event loop sees it: jobs go to the engine, or to the worker that owns the user."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from grela.errors import CatalogueError, GrelaError, RefusedError
from grela.live.bodies import ExplanationAnswer, Item, KnownUser, UsersAnswer
from grela.live.checking import Checker
from grela.live.engine import Engine, Outcome
from grela.live.explaining import explanation
from grela.live.jobs import Answer, Follow, Forget, Happened, Job, Wanted
from grela.live.limits import Limits
from grela.live.loading import Change
from grela.live.measures import Measures
from grela.live.partition import owner
from grela.live.peers import Link, LoadAgain, Loaded, Question, TellMeasures, Told
from grela.live.search import Search
from grela.live.served import Served
from grela.store.protocol import Store, Tail, chronological

Found = TypeVar("Found")

# Users that one search for users looks at: some 50 ms.
LOOKED_AT = 100_000


class Service:
    """It serves one event loop, whichever asks first; `close` it there.

    links: to each worker by its number, None for this one; alone: (None,)
    load: reads the run's folder anew; change: writes changes of its catalogue there
    """

    def __init__(
        self,
        store: Store,
        served: Served,
        *,
        load: Callable[[], Served],
        change: Callable[[Change], None],
        links: Sequence[Link | None] = (None,),
        memory: int,
        limits: Limits,
    ) -> None:
        self.number = links.index(None)
        self.measures = Measures(self.number)
        self.limits = limits
        self._store = store
        self._links = links
        self._load = load
        self._change = change
        self._loading = asyncio.Lock()
        # Long histories are read and titles searched beside the loop.
        self._beside = ThreadPoolExecutor(2, thread_name_prefix="grela reader")
        self._engine: Engine[asyncio.Future[Answer]] = Engine(
            store, served, self._deliver, memory=memory, limits=limits, measures=self.measures
        )
        self._use(served)
        self._engine.start()

    def _use(self, served: Served) -> None:
        self.search = Search(served)
        self.checker = Checker(served, self.limits)

    @property
    def served(self) -> Served:
        """The model that requests are checked by."""
        return self.checker.served

    async def do(self, job: Job) -> Answer:
        """The answer of whoever owns the users that the job names; those of several workers together."""
        if len(self._links) == 1:
            return await self.submit(job)
        if isinstance(job, Forget):
            return await self._at(owner(job.user, len(self._links)), job)
        if not isinstance(job, Follow):
            return await self.submit(job)
        parts = divided(job, len(self._links))
        if len(parts) == 1:
            ((number, _),) = parts.items()
            return await self._at(number, job)
        answers = await asyncio.gather(*(self._at(number, part) for number, part in parts.items()))
        return united(job, len(self._links), dict(zip(parts, answers, strict=True)))

    def submit(self, job: Job) -> asyncio.Future[Answer]:
        """The answer of this worker's engine; RefusedError at once where its queue is full."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._engine.submit(job, future)
        return future

    async def read(self, user: str) -> Tail:
        """All events of a user, from the log."""
        return await self._run(self._store.read, user)

    async def find(self, text: str, limit: int) -> list[Item]:
        """Items by title."""
        return await self._run(self.search.find, text, limit)

    async def find_users(self, prefix: str, limit: int) -> UsersAnswer:
        """Users whose ids begin with `prefix`, from the log."""
        return await self._run(known_users, self._store, prefix, limit)

    async def explain(self, user: str, wanted: Wanted) -> ExplanationAnswer:
        """What the user's list owes to what, after all events of the log."""
        return await self._run(self._explained, user, wanted, self.served)

    def _explained(self, user: str, wanted: Wanted, served: Served) -> ExplanationAnswer:
        history = chronological(self._store.read(user).events)
        return explanation(served, user, history, wanted, longest=self.limits.explained)

    async def load_again(self) -> str:
        """Serve the model that is in the run's folder now; returns its fingerprint. Until then the old one serves.

        RefusedError, status 409, where it cannot be served; then the old one goes on.
        """
        async with self._loading:
            try:
                served = await self._run(self._load)
                search = await self._run(Search, served)
            except GrelaError as error:
                raise RefusedError(f"the model was not changed: {error}", 409) from error
            self.search, self.checker = search, Checker(served, self.limits)
            self._engine.serve_from_now(served)
        return served.fingerprint

    async def load_everywhere(self) -> str:
        """`load_again` at each worker; returns the fingerprint that all serve then; RefusedError if they differ."""
        told = await self._everywhere(LoadAgain(), self.load_again)
        found = {one.fingerprint if isinstance(one, Loaded) else one for one in told}
        if len(found) > 1:
            raise RefusedError("the run changed while workers read it; load it again", 409)
        return str(found.pop())

    async def change_items(self, change: Change) -> str:
        """Change the catalogue in the run's folder and serve it everywhere; returns the model's fingerprint then.

        RefusedError for what cannot be added or removed, and, with status 409, where the folder cannot be changed now.
        """
        try:
            await self._run(self._change, change)
        except CatalogueError as error:
            raise RefusedError(str(error)) from error
        except GrelaError as error:
            raise RefusedError(f"the catalogue was not changed: {error}", 409) from error
        return await self.load_everywhere()

    async def all_measures(self) -> list[Measures]:
        """Every worker's numbers."""

        async def own() -> Measures:
            return self.measures

        return [one for one in await self._everywhere(TellMeasures(), own) if isinstance(one, Measures)]

    async def for_another(self, question: Question) -> Told:
        """The answer to another worker."""
        if isinstance(question, LoadAgain):
            return Loaded(await self.load_again())
        return self.measures if isinstance(question, TellMeasures) else await self.submit(question)

    @property
    def running(self) -> bool:
        """Whether this worker serves."""
        return self._engine.running

    async def close(self) -> None:
        """`stop`, beside the loop, which meanwhile hands out the last answers."""
        await asyncio.get_running_loop().run_in_executor(None, self.stop)
        for link in self._links:
            if link is not None:
                link.close()

    def stop(self) -> None:
        """Serve what waits, save states, let go of the store."""
        self._engine.stop()
        self._beside.shutdown()
        self._store.close()

    async def _at(self, number: int, job: Job) -> Answer:
        link = self._links[number]
        if link is None:
            return await self.submit(job)
        told = await link.ask(job)
        assert isinstance(told, Answer)
        return told

    async def _everywhere(
        self, message: LoadAgain | TellMeasures, here: Callable[[], Coroutine[None, None, str | Measures]]
    ) -> list[Told | str]:
        """What every worker says; the first error if any has one, once all are through."""
        asked = (here() if link is None else link.ask(message) for link in self._links)
        told = await asyncio.gather(*asked, return_exceptions=True)
        for one in told:
            if isinstance(one, BaseException):
                raise one
        return [one for one in told if not isinstance(one, BaseException)]

    def _deliver(self, done: Sequence[tuple[asyncio.Future[Answer], Outcome]]) -> None:
        """Called by the engine's thread, once a cycle."""
        done[0][0].get_loop().call_soon_threadsafe(_settle, done)

    async def _run(self, function: Callable[..., Found], *arguments: object) -> Found:
        """What a function returns that takes long, called beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._beside, function, *arguments)


def known_users(store: Store, prefix: str, limit: int) -> UsersAnswer:
    """The first `limit` by id of the users that begin so, of at most `LOOKED_AT` users."""
    looked_at = list(islice(store.users(), LOOKED_AT + 1))
    found = sorted(user for user in looked_at[:LOOKED_AT] if user.startswith(prefix))
    whole = len(found) <= limit and len(looked_at) <= LOOKED_AT
    return UsersAnswer([KnownUser(user) for user in found[:limit]], whole)


def _settle(done: Sequence[tuple[asyncio.Future[Answer], Outcome]]) -> None:
    for future, outcome in done:
        if future.done():  # whoever asked went away
            continue
        if isinstance(outcome, RefusedError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def divided(job: Follow, workers: int) -> dict[int, Follow]:
    """The part of each worker that owns users of the job."""
    events: dict[int, list[Happened]] = {}
    users: dict[int, list[str]] = {}
    for event in job.events:
        events.setdefault(owner(event.user, workers), []).append(event)
    for user in job.users:
        users.setdefault(owner(user, workers), []).append(user)
    return {
        number: Follow(tuple(events.get(number, ())), tuple(users.get(number, ())), job.wanted)
        for number in events | users
    }


def united(job: Follow, workers: int, answers: dict[int, Answer]) -> Answer:
    """The answers of all parts as that of the whole job."""
    added = {number: iter(answer.added) for number, answer in answers.items()}
    lists = {number: iter(answer.lists) for number, answer in answers.items()}
    return Answer(
        tuple(next(added[owner(event.user, workers)]) for event in job.events),
        tuple(next(lists[owner(user, workers)]) for user in job.users),
    )
