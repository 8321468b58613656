"""The OpenAPI document: schemas from the bodies themselves, operations from one table."""

from functools import cache
from typing import Any

import msgspec

from grela import __version__
from grela.live import bodies
from grela.live.answers import JSON
from grela.live.limits import Limits

_LIMITS = Limits()
_SCHEMAS = "#/components/schemas/"

_ERRORS = {
    400: "What was sent is not JSON or not UTF-8; in plain text: it is not HTTP, or its address exceeds 64 KB.",
    401: "The bearer token is missing or wrong.",
    403: "The Host or Origin is not the service's own.",
    408: "The body took too long to arrive.",
    409: "The run's folder has no model that can be served, or cannot be changed now; the old one goes on.",
    413: "The body is too large.",
    415: "The body is not declared as application/json.",
    422: "A value is out of bounds, or an item is not in the catalogue.",
    429: "More requests than this client may make; Retry-After says when to ask again.",
    500: "The service failed.",
    503: "The service is full, starting or stopping; ask again after Retry-After seconds.",
}
# What is no HTTP is refused before anything of ours sees it.
_PLAIN = {400: {"text/plain": {"schema": {"type": "string"}}}}
_ALWAYS = (400, 401, 403, 429, 503)
_WITH_BODY = (408, 413, 415, 422)

_ID = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": _LIMITS.id_length}]}
_USER = {
    "name": "user",
    "in": "path",
    "required": True,
    "description": "A user's raw id, percent-encoded; any id may be given, known or new.",
    "schema": {"type": "string", "minLength": 1, "maxLength": _LIMITS.id_length},
}

_ITEM = {
    "name": "item",
    "in": "path",
    "required": True,
    "description": "An item's raw id, percent-encoded.",
    "schema": {"type": "string", "minLength": 1, "maxLength": _LIMITS.id_length},
}


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _items(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "array", "items": _ID, "maxItems": _LIMITS.listed}
    return _query(name, description, schema) | {"style": "form", "explode": True}


def _count(name: str, default: int, most: int, description: str) -> dict[str, Any]:
    return _query(name, description, {"type": "integer", "minimum": 1, "maximum": most, "default": default})


_CHOICE = [
    _count("k", 10, _LIMITS.k, "How many items."),
    _query("filter_seen", "Whether to leave out items of the history.", {"type": "boolean"}),
    _items("allow", "Recommend among these items only; once for each."),
    _items("exclude", "Never these items; once for each."),
]


def _search(what: str) -> list[dict[str, Any]]:
    text = {"type": "string", "maxLength": _LIMITS.id_length}
    return [
        _query("query", f"The text; without one, any {what}.", text),
        _count("limit", 20, _LIMITS.k, f"How many {what}s."),
    ]


def _operation(
    summary: str,
    gives: type,
    *errors: int,
    parameters: list[dict[str, Any]] | None = None,
    takes: type | None = None,
    open_to_all: bool = False,
) -> dict[str, Any]:
    also = (*errors, *(_WITH_BODY if takes is not None else ()), *(() if open_to_all else _ALWAYS))
    if parameters:
        also = (*also, 422)
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "Done.", "content": _json(gives)}}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(set(also))},
    }
    if parameters:
        operation["parameters"] = parameters
    if takes is not None:
        operation["requestBody"] = {"required": True, "content": _json(takes)}
    if open_to_all:
        operation["security"] = []
    return operation


def _json(kind: type) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": _SCHEMAS + kind.__name__}}}


_PATHS = {
    "/events": {
        "post": _operation(
            "Log events, all or none; durable once answered. With `recommend`, a list for each of their users.",
            bodies.EventsAnswer,
            takes=bodies.EventsBody,
        )
    },
    "/users/{user}/recommendations": {
        "get": _operation(
            "A list for a user, after all events that have been acknowledged.",
            bodies.UserListAnswer,
            parameters=[_USER, *_CHOICE],
        )
    },
    "/recommendations": {
        "post": _operation(
            "A list for a history in the request; nothing is kept.",
            bodies.ListAnswer,
            takes=bodies.HistoryBody,
        )
    },
    "/users/{user}/history": {
        "get": _operation(
            "A user's latest events, newest last.",
            bodies.HistoryAnswer,
            parameters=[_USER, _count("limit", 100, _LIMITS.shown_history, "How many events.")],
        )
    },
    "/users/{user}/explanation": {
        "get": _operation(
            "What a user's list owes to which branch of the model, read again from the log.",
            bodies.ExplanationAnswer,
            parameters=[_USER, *_CHOICE],
        )
    },
    "/users": {
        "get": _operation(
            "Users whose ids begin with a text.",
            bodies.UsersAnswer,
            parameters=_search("user"),
        )
    },
    "/users/{user}": {
        "delete": _operation("Delete a user's events and state.", bodies.DeletedAnswer, parameters=[_USER])
    },
    "/items": {
        "get": _operation(
            "Items whose titles hold a text, the more popular first.",
            bodies.ItemsAnswer,
            parameters=_search("item"),
        ),
        "post": _operation(
            "Add items to the catalogue, all or none, without training: each begins like known ones. Kept in the run's "
            "folder.",
            bodies.ChangedItemsAnswer,
            409,
            takes=bodies.NewItemsBody,
        ),
    },
    "/items/{item}": {
        "delete": _operation(
            "Never recommend an item again; histories that hold it are understood as before. Kept in the run's folder.",
            bodies.ChangedItemsAnswer,
            409,
            parameters=[_ITEM],
        )
    },
    "/model/reload": {
        "post": _operation(
            "Serve the model that the run's folder has now; the old one serves meanwhile.",
            bodies.ModelAnswer,
            409,
            422,
        )
    },
    "/health": {"get": _operation("Whether the process lives.", bodies.StatusAnswer, 503, open_to_all=True)},
    "/ready": {"get": _operation("Whether all workers serve.", bodies.StatusAnswer, 503, open_to_all=True)},
}


@cache
def document() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    kinds = (
        *(
            bodies.EventsBody,
            bodies.HistoryBody,
            bodies.NewItemsBody,
            bodies.EventsAnswer,
            bodies.ListAnswer,
            bodies.UserListAnswer,
        ),
        *(
            bodies.HistoryAnswer,
            bodies.ItemsAnswer,
            bodies.ChangedItemsAnswer,
            bodies.DeletedAnswer,
            bodies.ModelAnswer,
            bodies.StatusAnswer,
        ),
        *(bodies.ExplanationAnswer, bodies.UsersAnswer, bodies.ErrorAnswer),
    )
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS + "{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "grela",
            "version": __version__,
            "description": "Recommendations that follow every event.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": _PATHS | {"/metrics": _METRICS, "/openapi.json": _OPENAPI},
        "components": {
            "schemas": schemas,
            "responses": {
                str(status): {
                    "description": text,
                    "content": _json(bodies.ErrorAnswer) | _PLAIN.get(status, {}),
                }
                for status, text in _ERRORS.items()
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _plain(summary: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": {media_type: {"schema": schema}}}}
    responses |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in _ALWAYS}
    return {"get": {"summary": summary, "responses": responses}}


_METRICS = _plain("Numbers of all workers, as Prometheus reads them.", "text/plain", {"type": "string"})
_OPENAPI = _plain("This document.", JSON, {"type": "object"})
