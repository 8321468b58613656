"""A client of the service: the standard library alone, one connection, retries that change nothing twice."""

import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from grela.errors import RefusedError, ServiceError

_TRY_AGAIN = (429, 503)


class Client:
    """Asks a service at `url`, such as "http://127.0.0.1:8000". Not for several threads at a time.

    Every event gets an id here unless it has one, so that a request which got no answer is sent again without doubling
    anything. patience: seconds to go on trying while the service is full, starting again or out of reach.

        with Client("http://127.0.0.1:8000") as client:
            client.add("alice", "A17")
            client.recommend("alice", k=5)

    Methods return the answers' JSON. They raise RefusedError, with the status, for what the service refuses, and
    ServiceError where it cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        patience: float = 30.0,
        timeout: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(f"the address is {url!r}, expected such as http://127.0.0.1:8000")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.url = url.rstrip("/")
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)
        self._path = parts.path.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._patience = patience
        self._sleep = sleep

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def add(self, user: str | int, item: str | int, time: int | float | str | None = None) -> None:
        """Log one event; it is durable when this returns."""
        event: dict[str, Any] = {"user": user, "item": item}
        self.send([event if time is None else event | {"time": time}])

    def send(self, events: Iterable[Mapping[str, Any]], recommend: Mapping[str, Any] | None = None) -> Any:
        """Log events, each with user, item and maybe time and id: all or none; `recommend`: lists as well."""
        body: dict[str, Any] = {"events": [{"id": uuid.uuid4().hex} | dict(event) for event in events]}
        return self._ask(
            "POST", "/events", body if recommend is None else body | {"recommend": dict(recommend)}
        )

    def recommend(
        self,
        user: str | int,
        k: int = 10,
        *,
        filter_seen: bool | None = None,
        allow: Sequence[str | int] | None = None,
        exclude: Sequence[str | int] = (),
    ) -> list[dict[str, Any]]:
        """The k best items for a user now: item, title, score."""
        fields = [("k", str(k)), *(("exclude", str(item)) for item in exclude)]
        fields += [("allow", str(item)) for item in allow or ()]
        if filter_seen is not None:
            fields.append(("filter_seen", str(filter_seen).lower()))
        found: list[dict[str, Any]] = self._ask("GET", _of_user(user, "/recommendations", fields))[
            "recommendations"
        ]
        return found

    def recommend_to_history(self, history: Sequence[str | int], **choice: Any) -> list[dict[str, Any]]:
        """The best items for a history that is not logged; `choice`: times, k, filter_seen, allow, exclude."""
        body = {"history": list(history)} | choice
        found: list[dict[str, Any]] = self._ask("POST", "/recommendations", body)["recommendations"]
        return found

    def history(self, user: str | int, limit: int = 100) -> Any:
        """A user's latest events, newest last, and how many there are."""
        return self._ask("GET", _of_user(user, "/history", [("limit", str(limit))]))

    def delete(self, user: str | int) -> int:
        """Delete a user's events and state; returns how many events there were."""
        return int(self._ask("DELETE", _of_user(user, "", []))["deleted"])

    def find(self, query: str, limit: int = 20) -> list[dict[str, Any]]:
        """Items by their titles."""
        found: list[dict[str, Any]] = self._ask(
            "GET", "/items?" + urlencode({"query": query, "limit": limit})
        )["items"]
        return found

    def add_items(self, items: Iterable[Mapping[str, Any]]) -> list[str]:
        """Add items, each with item, like, and maybe title and bias, all or none; returns their ids."""
        return list(self._ask("POST", "/items", {"items": [dict(one) for one in items]})["items"])

    def remove_item(self, item: str | int) -> None:
        """Never recommend an item again."""
        self._ask("DELETE", f"/items/{quote(str(item), safe='')}")

    def reload(self) -> str:
        """Serve the model that the run's folder has now; returns its fingerprint."""
        return str(self._ask("POST", "/model/reload")["model"])

    def ready(self) -> bool:
        """Whether all workers serve; False also where nothing answers."""
        try:
            status, _, _ = self._once("GET", "/ready", None)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        return status == 200

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        until, pause = time.monotonic() + self._patience, 0.05
        while True:
            try:
                status, after, answer = self._once(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if time.monotonic() > until:
                    raise ServiceError(
                        f"{self.url} does not answer: {error!r}; is the service running?"
                    ) from error
                status, after = 503, 0.0
            else:
                if status == 200:
                    return answer
                if status not in _TRY_AGAIN or time.monotonic() > until:
                    raise RefusedError(_message(answer, status), status)
            self._sleep(max(pause, min(after, 1.0)))
            pause = min(2 * pause, 2.0)

    def _once(self, method: str, path: str, body: Any) -> tuple[int, float, Any]:
        """Status, Retry-After and the answer's JSON."""
        headers = dict(self._headers)
        raw = None
        if body is not None:
            raw = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        self._connection.request(method, self._path + path, raw, headers)
        response = self._connection.getresponse()
        text = response.read()
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        return (
            response.status,
            float(response.getheader("Retry-After") or 0),
            json.loads(text) if is_json else text,
        )


def _of_user(user: str | int, path: str, fields: list[tuple[str, str]]) -> str:
    return f"/users/{quote(str(user), safe='')}{path}" + (f"?{urlencode(fields)}" if fields else "")


def _message(answer: Any, status: int) -> str:
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        return str(answer["error"])
    return f"the answer has status {status} and no message"
