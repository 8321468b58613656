"""What the tests of the Kafka consumer share."""

import json

from grela.live.ids import Clock
from grela.live.messages import Catalogue

CATALOGUE = Catalogue(frozenset(map(str, range(1, 1000))), False, True, Clock("given", True))

# The mock broker holds the place of a member who was killed for this long.
SETTINGS = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "200", "log_level": "2"}


def body(user: str, item: int, time: int) -> bytes:
    return json.dumps({"user": user, "item": item, "time": time}).encode()
