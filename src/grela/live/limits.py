"""What one request, and all of them together, may ask of the service. Everything past a limit is refused, not cut."""

from dataclasses import dataclass, fields

from grela.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the service; whatever is beyond is answered by 4xx, or by 503 where the service is full.

    body: bytes of a request's body                     body_seconds: how long a body may take to arrive
    events: events of one POST /events                  history: items of a history given in a request
    k: items of one list                                listed: items of `allow` or of `exclude`
    id_length: characters of an id                      shown_history: events of one GET /users/{id}/history
    new_items: items of one POST /items                 title_length: characters of a new item's title
    explained: events of a history that GET /users/{id}/explanation reads again
    waiting: events, histories' items and lists that wait at one time, past which the answer is 503
    waiting_bytes: bytes of bodies being read or waiting at one time, likewise
    """

    body: int = 1_048_576
    body_seconds: float = 10.0
    events: int = 1_000
    history: int = 10_000
    k: int = 1_000
    listed: int = 10_000
    id_length: int = 256
    new_items: int = 1_000
    title_length: int = 1_000
    shown_history: int = 10_000
    explained: int = 100_000
    waiting: int = 50_000
    waiting_bytes: int = 67_108_864

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(f"limit {field.name} is {getattr(self, field.name)}, expected more than 0")
