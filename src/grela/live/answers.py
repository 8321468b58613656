"""Answers as HTTP has them."""

import math

import msgspec
from starlette.responses import Response

from grela.live.bodies import ErrorAnswer

JSON = "application/json"


def answer(value: object, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def refusal(
    message: str, status: int, *, after: float | None = None, headers: dict[str, str] | None = None
) -> Response:
    """An error; after: seconds until asking again makes sense, which a 503 always says."""
    said = dict(headers or {})
    if after is not None or status == 503:
        said["retry-after"] = str(max(1, math.ceil(after or 0)))
    if status == 401:
        said["www-authenticate"] = "Bearer"
    return Response(msgspec.json.encode(ErrorAnswer(message)), status, said, JSON)
