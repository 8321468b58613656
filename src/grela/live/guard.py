"""Who may ask at all: before anything else looks at a request. Pure ASGI, around the application."""

import hmac
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grela.live.answers import refusal
from grela.live.measures import Measures
from grela.live.page import page_files
from grela.live.rate import Rate

# Whoever watches over the process has no token; and the page, which holds no secret, asks its reader for one.
OPEN = frozenset({"/health", "/ready", *page_files()})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

logger = logging.getLogger(__name__)


class Guard:
    """Refuses strangers, and counts and times what is answered.

    token: which every request must bear, but for `OPEN` paths. Without one the service is on loopback alone, and a
        page of another site that a browser here has open must not reach it: requests need a loopback Host.
    rate: of requests for each client, by address
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        measures: Measures,
        token: str | None,
        rate: Rate | None,
        open_paths: frozenset[str] = OPEN,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.app = app
        self.measures = measures
        self.token = None if token is None else token.encode()
        self.rate = rate
        self.open_paths = open_paths
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = self.clock(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                spent = b"total;dur=%.3f" % (1000 * (self.clock() - began))
                message["headers"] = [*message.get("headers", ()), (b"server-timing", spent)]
            await send(message)

        refused = self._refused(scope, began)
        try:
            await (self.app if refused is None else refused)(scope, receive, noting)
        finally:
            endpoint = scope.get("endpoint")
            route = getattr(endpoint, "__name__", "none")
            self.measures.request(route, status, self.clock() - began)

    def _refused(self, scope: Scope, now: float) -> Response | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.token is None and _name(host) not in LOOPBACK:
            return refusal(
                f"the host is {host!r}, expected localhost: a service without a token answers loopback names only; "
                "start it with a token for others",
                403,
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin.partition("://")[2] != host:
            return refusal(
                f"the origin is {origin!r}, expected the service's own pages at {host!r}: pages of other sites may "
                "not ask; put both behind one address",
                403,
            )
        if self.rate is not None:
            wait = self.rate.wait(_client(scope), now)
            if wait:
                return refusal(
                    f"more than {self.rate.rate:g} requests a second, expected fewer; ask again in {wait:.1f} s",
                    429,
                    after=wait,
                )
        if self.token is not None and scope["path"] not in self.open_paths and not self._bears(headers):
            return refusal(
                "the bearer token is missing or wrong, expected the one of the service; send it as "
                "`Authorization: Bearer TOKEN`",
                401,
            )
        return None

    def _bears(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        assert self.token is not None
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self.token)


def _name(host: str) -> str:
    """The host without its port."""
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


def _client(scope: Scope) -> str:
    client: Any = scope.get("client")
    return client[0] if client else "?"
