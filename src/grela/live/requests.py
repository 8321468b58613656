"""What a request says, read within limits: its body as JSON, its query, the id in its path."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from starlette.requests import ClientDisconnect, Request

from grela.errors import RefusedError
from grela.live.answers import JSON
from grela.live.bodies import Choice, EventsBody, HistoryBody, NewItemsBody
from grela.live.limits import Limits

Body = TypeVar("Body", EventsBody, HistoryBody, NewItemsBody)

QUERY_FIELDS = 10_100


class Reader:
    """Reads requests; what all bodies that are being read take together is bounded."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._reading = 0
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {
            kind: msgspec.json.Decoder(kind) for kind in (EventsBody, HistoryBody, NewItemsBody)
        }

    async def body(self, request: Request, kind: type[Body]) -> Body:
        """The body as JSON; RefusedError if it is too large, too slow, not JSON, or of another form."""
        given = request.headers.get("content-type", "")
        if given.partition(";")[0].strip().lower() != JSON:
            raise RefusedError(f"the content type is {given!r}, expected {JSON}; send the body as JSON", 415)
        raw = await self._bytes(request)
        try:
            decoded: Body = self._decoders[kind].decode(raw)
        except msgspec.ValidationError as error:
            raise RefusedError(f"the body does not fit: {error}; see /openapi.json") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RefusedError(f"the body is not JSON: {error}", 400) from error
        return decoded

    async def _bytes(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.limits.body:
            raise self._too_large(int(declared))
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for part in request.stream():
                    size += len(part)
                    self._reading += len(part)
                    if size > self.limits.body:
                        raise self._too_large(size)
                    if self._reading > self.limits.waiting_bytes:
                        raise RefusedError("too many bodies are being read; ask again in a moment", 503)
                    parts.append(part)
        except TimeoutError as error:
            raise RefusedError(
                f"the body took more than {self.limits.body_seconds:g} s to arrive; send it at once", 408
            ) from error
        except ClientDisconnect as error:
            raise RefusedError("the client went away before its body was through", 400) from error
        finally:
            self._reading -= size
        return b"".join(parts)

    def _too_large(self, size: int) -> RefusedError:
        return RefusedError(
            f"the body has {size:,} bytes or more, expected {self.limits.body:,} at most; send it in parts",
            413,
        )


def path_id(request: Request, name: str) -> str:
    """The id in the path; RefusedError where its percent-encoding is no UTF-8."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    try:
        unquote_to_bytes(raw.partition(b"?")[0]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"the path is not UTF-8: {error}; percent-encode the id as UTF-8", 400) from error
    found: str = request.path_params[name]
    return found


def query(request: Request, *allowed: str) -> dict[str, list[str]]:
    """The query's values by name; RefusedError for a name that is not allowed, or what is not UTF-8."""
    text: bytes = request.scope["query_string"]
    values: dict[str, list[str]] = {}
    if not text:
        return values
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS
        )
    except (UnicodeError, ValueError) as error:
        raise RefusedError(f"the query cannot be read: {error}; percent-encode it as UTF-8", 400) from error
    for name, value in pairs:
        if name not in allowed:
            raise RefusedError(f"the query has {name!r}, expected only {', '.join(allowed) or 'none'}")
        values.setdefault(name, []).append(value)
    return values


def choice(values: Mapping[str, list[str]]) -> Choice:
    """How a list is to be, from a query: `allow` and `exclude` once for each item."""
    allow, exclude = values.get("allow"), values.get("exclude")
    return Choice(
        number(values, "k", 10),
        _truth(values, "filter_seen"),
        None if allow is None else list(allow),
        [] if exclude is None else list(exclude),
    )


def number(values: Mapping[str, list[str]], name: str, default: int) -> int:
    """A whole number of the query."""
    text = _one(values, name)
    if text is None:
        return default
    if not (text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= 18):
        raise RefusedError(f"{name} is {text[:50]!r}, expected a whole number")
    return int(text)


def _truth(values: Mapping[str, list[str]], name: str) -> bool | None:
    text = _one(values, name)
    if text not in (None, "true", "false"):
        raise RefusedError(f"{name} is {text[:50]!r}, expected true or false")
    return None if text is None else text == "true"


def _one(values: Mapping[str, list[str]], name: str) -> str | None:
    given = values.get(name)
    if given is None:
        return None
    if len(given) > 1:
        raise RefusedError(f"{name} is given {len(given)} times, expected once")
    return given[0]
