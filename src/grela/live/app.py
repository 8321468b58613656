"""HTTP: from requests to jobs and from answers to JSON; nothing is computed here."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from grela.errors import RefusedError
from grela.live.answers import answer, refusal
from grela.live.bodies import (
    ChangedItemsAnswer,
    DeletedAnswer,
    EncodedEventsAnswer,
    EncodedListAnswer,
    EncodedUserListAnswer,
    EventsBody,
    HistoryAnswer,
    HistoryBody,
    ItemsAnswer,
    ModelAnswer,
    NewItemsBody,
    PastEvent,
    Result,
    StatusAnswer,
)
from grela.live.jobs import Follow, Forget
from grela.live.measures import exposition
from grela.live.openapi import document
from grela.live.page import page_files
from grela.live.requests import Reader, choice, number, path_id, query
from grela.live.service import Service
from grela.store.protocol import chronological

logger = logging.getLogger(__name__)

LIST_FIELDS = ("k", "filter_seen", "allow", "exclude")
SHOWN_ITEMS = 20


class IdConvertor(Convertor[str]):
    """A path's rest, slashes and line breaks too: ids that hold what they may not are refused, not unheard of."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


register_url_convertor("id", IdConvertor())


class Endpoints:
    """One method for each route; what they raise as RefusedError is an answer too."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.reader = Reader(service.limits)

    async def events(self, request: Request) -> Response:
        """POST /events"""
        body = await self.reader.body(request, EventsBody)
        job = self.service.checker.follow(body)
        done = await self.service.do(job)
        results = [Result(event.user, added) for event, added in zip(job.events, done.added, strict=True)]
        if job.wanted is None:
            return answer(EncodedEventsAnswer(results))
        lists = {user: msgspec.Raw(one.items) for user, one in zip(job.users, done.lists, strict=True)}
        return answer(EncodedEventsAnswer(results, lists))

    async def user_recommendations(self, request: Request) -> Response:
        """GET /users/{user}/recommendations"""
        user = self._user(request)
        wanted = self.service.checker.wanted(choice(query(request, *LIST_FIELDS)))
        (one,) = (await self.service.do(Follow((), (user,), wanted))).lists
        return answer(EncodedUserListAnswer(msgspec.Raw(one.items), one.cold_start, user))

    async def recommendations(self, request: Request) -> Response:
        """POST /recommendations"""
        body = await self.reader.body(request, HistoryBody)
        (one,) = (await self.service.do(self.service.checker.suggest(body))).lists
        return answer(EncodedListAnswer(msgspec.Raw(one.items), one.cold_start))

    async def history(self, request: Request) -> Response:
        """GET /users/{user}/history"""
        user, most = self._user(request), self.service.limits.shown_history
        limit = number(query(request, "limit"), "limit", 100)
        if not 1 <= limit <= most:
            raise RefusedError(f"limit is {limit}, expected 1 to {most:,}")
        tail, served = await self.service.read(user), self.service.served
        shown = [
            PastEvent(event.item, served.title(event.item), event.time)
            for event in chronological(tail.events)[-limit:]
        ]
        return answer(HistoryAnswer(user, shown, len(tail.events), served.clock.unit))

    async def explanation(self, request: Request) -> Response:
        """GET /users/{user}/explanation"""
        user = self._user(request)
        wanted = self.service.checker.wanted(choice(query(request, *LIST_FIELDS)))
        return answer(await self.service.explain(user, wanted))

    async def users(self, request: Request) -> Response:
        """GET /users"""
        text, limit = self._searched(request)
        return answer(await self.service.find_users(text, limit))

    async def delete(self, request: Request) -> Response:
        """DELETE /users/{user}"""
        user = self._user(request)
        query(request)
        return answer(DeletedAnswer(user, (await self.service.do(Forget(user))).forgotten))

    async def items(self, request: Request) -> Response:
        """GET /items"""
        text, limit = self._searched(request)
        return answer(ItemsAnswer(await self.service.find(text, limit)))

    async def add_items(self, request: Request) -> Response:
        """POST /items"""
        body = await self.reader.body(request, NewItemsBody)
        new = self.service.checker.new_items(body)
        model = await self.service.change_items(lambda recommender: recommender.with_items(new))
        return answer(ChangedItemsAnswer(model, [str(one.item) for one in new]))

    async def remove_item(self, request: Request) -> Response:
        """DELETE /items/{item}"""
        item = self.service.checker.item_id(path_id(request, "item"))
        query(request)
        model = await self.service.change_items(lambda recommender: recommender.without_items([item]))
        return answer(ChangedItemsAnswer(model, [item]))

    async def load_again(self, request: Request) -> Response:
        """POST /model/reload"""
        query(request)
        return answer(ModelAnswer(await self.service.load_everywhere()))

    async def health(self, request: Request) -> Response:
        """GET /health"""
        if not self.service.running:
            raise RefusedError("the engine has stopped", 503)
        return answer(StatusAnswer("ok"))

    async def ready(self, request: Request) -> Response:
        """GET /ready"""
        if not self.service.running:
            raise RefusedError("the engine has stopped", 503)
        await self.service.all_measures()
        return answer(StatusAnswer("ready"))

    async def metrics(self, request: Request) -> Response:
        """GET /metrics"""
        measures = await self.service.all_measures()
        return Response(exposition(measures), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json"""
        return answer(document())

    def routes(self) -> list[Route]:
        """The busiest first: routes are tried in order. An id may hold slashes, percent-encoded."""
        return [
            _route("POST", "/events", self.events),
            _route("GET", "/users/{user:id}/recommendations", self.user_recommendations),
            _route("POST", "/recommendations", self.recommendations),
            _route("GET", "/users/{user:id}/history", self.history),
            _route("GET", "/users/{user:id}/explanation", self.explanation),
            _route("DELETE", "/users/{user:id}", self.delete),
            _route("GET", "/users", self.users),
            _route("GET", "/items", self.items),
            _route("POST", "/items", self.add_items),
            _route("DELETE", "/items/{item:id}", self.remove_item),
            _route("POST", "/model/reload", self.load_again),
            _route("GET", "/health", self.health),
            _route("GET", "/ready", self.ready),
            _route("GET", "/metrics", self.metrics),
            _route("GET", "/openapi.json", self.openapi),
            *(_route("GET", path, page_file) for path in page_files()),
        ]

    def _searched(self, request: Request) -> tuple[str, int]:
        """What is looked for, and how many are wanted."""
        values = query(request, "query", "limit")
        limit, (text,) = number(values, "limit", SHOWN_ITEMS), values.get("query", [""])[-1:]
        if not 1 <= limit <= self.service.limits.k or len(text) > self.service.limits.id_length:
            raise RefusedError(
                f"limit is {limit} and query has {len(text):,} characters, expected 1 to {self.service.limits.k:,} "
                f"of them and {self.service.limits.id_length} characters at most"
            )
        return text, limit

    def _user(self, request: Request) -> str:
        return self.service.checker.user(path_id(request, "user"))


async def page_file(request: Request) -> Response:
    """GET / and what it loads"""
    file = page_files()[request.url.path]
    return Response(file.body, headers=file.headers, media_type=file.content_type)


class Endpoint:
    """A function from a request to its answer as ASGI, with errors as answers.

    Starlette would wrap it in five layers, for what no endpoint here does, and a request is short enough to feel them.
    """

    def __init__(self, function: Callable[[Request], Awaitable[Response]]) -> None:
        self.function = function
        self.__name__ = function.__name__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self.function(Request(scope, receive))
        except RefusedError as error:
            response = refusal(str(error), error.status)
        except Exception:
            logger.exception("%s %s failed", scope["method"], self.__name__)
            response = refusal("the service failed; its log says why", 500)
        await response(scope, receive, send)


def _route(method: str, path: str, function: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, Endpoint(function), methods=[method], name=function.__name__)


class Application:
    """The routes as ASGI; at its end, once every request is answered, it closes the service.

    drained: awaited before that, where other workers may have questions still
    """

    def __init__(self, service: Service, drained: Callable[[], Awaitable[None]] | None = None) -> None:
        @asynccontextmanager
        async def lifespan(app: object) -> AsyncIterator[None]:
            try:
                yield
            finally:
                if drained is not None:
                    await drained()
                await service.close()

        self.router = Router(Endpoints(service).routes(), lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # within an application the router raises what it does not find
        try:
            await self.router(scope, receive, send)
        except HTTPException as error:
            what = f"{scope['method']} {scope['path'][:200]}"
            said = (
                f"{what}: {HTTPStatus(error.status_code).phrase.lower()}; see /openapi.json for what there is"
            )
            await refusal(said, error.status_code, headers=dict(error.headers or {}))(scope, receive, send)
