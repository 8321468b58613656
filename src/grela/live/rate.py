"""How many requests a client may make: a bucket of tokens each, filled at a steady rate."""

from collections import OrderedDict

# Clients remembered; one that is forgotten begins with a full bucket.
MOST_CLIENTS = 10_000


class Rate:
    """`rate` requests a second for each client, and as many at once as two seconds bring."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.most = max(1.0, 2 * rate)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """0 if the client may go on, else the seconds until it may. now: of a clock that does not go back."""
        tokens, since = self._buckets.pop(client, (self.most, now))
        tokens = min(self.most, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate
