"""What a worker counts of itself, as plain numbers, and all workers' numbers as Prometheus reads them."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
JOBS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class Spread(msgspec.Struct):
    """A histogram: how many values fell at most at each bound, and past the last; and their sum."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    @staticmethod
    def over(bounds: tuple[float, ...]) -> "Spread":
        """Nothing yet."""
        return Spread(bounds, [0] * (len(bounds) + 1))

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: how many values were at most each bound."""
        buckets, so_far = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            buckets.append((bound, float(so_far)))
        return buckets


def _seconds() -> Spread:
    return Spread.over(SECONDS)


class Measures(msgspec.Struct):
    """One worker's numbers since it began.

    requests: by (route, status)            seconds: of requests, by route
    events, repeated, late: events logged; not logged since their id was there; earlier than one logged before
    hits, loads, rebuilds: states found in memory; taken from the store; made from the log
    unknown: events of histories that were passed over, since the model does not know their items
    """

    worker: int = 0
    model: str = ""
    requests: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    seconds: dict[str, Spread] = msgspec.field(default_factory=dict)
    events: int = 0
    repeated: int = 0
    late: int = 0
    lists: int = 0
    hits: int = 0
    loads: int = 0
    rebuilds: int = 0
    unknown: int = 0
    saved: int = 0
    refused: int = 0
    states: int = 0
    state_bytes: int = 0
    waiting: int = 0
    cycle_jobs: Spread = msgspec.field(default_factory=lambda: Spread.over(JOBS))
    cycle_seconds: Spread = msgspec.field(default_factory=_seconds)
    append_seconds: Spread = msgspec.field(default_factory=_seconds)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        by_status = self.requests.setdefault(route, {})
        by_status[status] = by_status.get(status, 0) + 1
        if route not in self.seconds:
            self.seconds[route] = _seconds()
        self.seconds[route].add(seconds)


_COUNTERS = {
    "events": "Events logged.",
    "repeated": "Events not logged again, since their id was there.",
    "late": "Users whose state was rebuilt since an event came late.",
    "lists": "Lists of recommendations made.",
    "hits": "States found in memory.",
    "loads": "States taken from the store.",
    "rebuilds": "States made from the log.",
    "unknown": "Events passed over in rebuilding, since the model does not know their items.",
    "saved": "States written to the store.",
    "refused": "Jobs refused since the queue was full.",
}
_GAUGES = {
    "states": "States in memory.",
    "state_bytes": "Bytes of states in memory.",
    "waiting": "Events, items of histories and lists that wait.",
}
_SPREADS = {
    "cycle_jobs": "Jobs of one cycle.",
    "cycle_seconds": "Seconds of one cycle: append, step, scores, lists.",
    "append_seconds": "Seconds of one append to the log.",
}


class _Workers(Collector):
    """Families of all workers' numbers, made when they are read."""

    def __init__(self, workers: Sequence[Measures]) -> None:
        self.workers = workers

    def collect(self) -> Iterable[Metric]:
        yield from self._requests()
        for name, what in _COUNTERS.items():
            counter = CounterMetricFamily(f"grela_{name}", what, labels=["worker"])
            for one in self.workers:
                counter.add_metric([str(one.worker)], getattr(one, name))
            yield counter
        for name, what in _GAUGES.items():
            gauge = GaugeMetricFamily(f"grela_{name}", what, labels=["worker"])
            for one in self.workers:
                gauge.add_metric([str(one.worker)], getattr(one, name))
            yield gauge
        for name, what in _SPREADS.items():
            family = HistogramMetricFamily(f"grela_{name}", what, labels=["worker"])
            for one in self.workers:
                spread: Spread = getattr(one, name)
                family.add_metric([str(one.worker)], spread.cumulative(), spread.total)
            yield family
        model = InfoMetricFamily("grela_model", "The model that is served.", labels=["worker"])
        for one in self.workers:
            model.add_metric([str(one.worker)], {"fingerprint": one.model})
        yield model

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "grela_requests", "Requests answered.", labels=["worker", "route", "status"]
        )
        seconds = HistogramMetricFamily(
            "grela_request_seconds",
            "Seconds from a request's head to its answer.",
            labels=["worker", "route"],
        )
        for one in self.workers:
            for route, by_status in one.requests.items():
                for status, count in by_status.items():
                    requests.add_metric([str(one.worker), route, str(status)], count)
            for route, spread in one.seconds.items():
                seconds.add_metric([str(one.worker), route], spread.cumulative(), spread.total)
        yield requests
        yield seconds


def exposition(workers: Sequence[Measures]) -> bytes:
    """All workers' numbers in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Workers(workers))
    return generate_latest(registry)
