"""Small parts of the service, each by its law."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from live_cases import service
from prometheus_client.parser import text_string_to_metric_families

from grela.errors import ConfigError, RefusedError, ServiceError
from grela.live.client import Client
from grela.live.ids import Clock, canonical
from grela.live.jobs import Answer, Follow, Happened, Listed, Wanted
from grela.live.limits import Limits
from grela.live.measures import SECONDS, Measures, Spread, exposition
from grela.live.partition import owner
from grela.live.rate import MOST_CLIENTS, Rate
from grela.live.service import divided, united
from grela.live.settings import Settings
from grela.live.token import read_token


def test_owners_are_the_same_everywhere_and_even():
    assert [owner(user, 3) for user in ("alice", "196", "Zoë")] == [2, 1, 2]
    shares = Counter(owner(str(user), 4) for user in range(10_000))
    assert all(2_300 < share < 2_700 for share in shares.values())


def test_a_job_divided_and_its_answers_united_are_the_whole():
    users = [f"user {n}" for n in range(9)]
    job = Follow(tuple(Happened(user, "1", n) for n, user in enumerate(users * 2)), tuple(users), Wanted(3))
    parts = divided(job, 3)
    assert sum(len(part.events) for part in parts.values()) == 18
    assert all(owner(event.user, 3) == number for number, part in parts.items() for event in part.events)
    answers = {
        number: Answer(
            tuple(event.time % 2 == 0 for event in part.events),
            tuple(Listed(False, user.encode()) for user in part.users),
        )
        for number, part in parts.items()
    }
    whole = united(job, 3, answers)
    assert whole.added == tuple(n % 2 == 0 for n in range(18))
    assert [one.items.decode() for one in whole.lists] == users


def test_a_client_has_its_rate_and_a_burst_of_two_seconds():
    rate = Rate(10)
    assert [rate.wait("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert rate.wait("a", 0.0) == pytest.approx(0.1)
    assert rate.wait("b", 0.0) == 0
    assert [rate.wait("a", 0.1), rate.wait("a", 0.1) > 0] == [0.0, True]
    assert sum(rate.wait("a", 1_000.0) == 0 for _ in range(50)) == 20


def test_a_rate_remembers_a_bounded_number_of_clients():
    rate = Rate(1)
    for number in range(MOST_CLIENTS + 100):
        rate.wait(str(number), 0.0)
    assert len(rate._buckets) == MOST_CLIENTS


def test_a_spread_counts_values_at_most_at_each_bound():
    spread = Spread.over((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        spread.add(value)
    assert spread.cumulative() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert spread.total == 12


def test_numbers_of_all_workers_are_told_apart():
    one, other = Measures(0, "a" * 64), Measures(1, "a" * 64)
    one.request("events", 200, 0.001)
    other.events = 7
    families = {one.name: one for one in text_string_to_metric_families(exposition([one, other]).decode())}
    assert {s.labels["worker"]: s.value for s in families["grela_events"].samples} == {"0": 0, "1": 7}
    buckets = [s for s in families["grela_request_seconds"].samples if s.name.endswith("_bucket")]
    assert len(buckets) == len(SECONDS) + 1


@pytest.mark.parametrize(
    ("raw", "text", "number"),
    [
        (7, "7", "7"),
        ("007", "007", "7"),
        ("-0", "-0", "0"),
        ("+7", "+7", "+7"),
        ("٧", "٧", "٧"),
        ("a", "a", "a"),
    ],
)
def test_an_id_has_one_text(raw, text, number):
    assert canonical(raw, integers=False) == text
    assert canonical(raw, integers=True) == number


def test_a_clock_tells_times_as_the_log_does():
    assert Clock("us", whole=True).at(1.5) == 1_500_000
    assert Clock("given", whole=True).at(1.5) == 1
    assert Clock("given", whole=False).at(1.5) == 1.5
    assert Clock("us", whole=True).checked("1970-01-01T00:00:01", "time") == 1_000_000
    assert Clock("given", whole=False).checked(3, "time") == 3.0
    for clock, bad in ((Clock("given", whole=True), 0.5), (Clock("given", whole=False), 2**70)):
        with pytest.raises(RefusedError, match="time is"):
            clock.checked(bad, "time")


def test_a_token_comes_from_a_file_or_the_environment(tmp_path):
    secret = "0123456789abcdef"
    path = tmp_path / "token"
    path.write_text(secret + "\n")
    settings = Settings(run=tmp_path, store="s", host="0.0.0.0", token_file=path)
    assert read_token(settings, {"GRELA_TOKEN": "another one, not used"}) == secret
    open_to_all = Settings(run=tmp_path, store="s", host="0.0.0.0")
    assert read_token(open_to_all, {"GRELA_TOKEN": secret}) == secret
    assert read_token(Settings(run=tmp_path, store="s"), {}) is None
    with pytest.raises(ServiceError, match="no bearer token"):
        read_token(open_to_all, {})
    for bad in ("short", "with a blank in it", "not ASCII: ü........"):
        with pytest.raises(ConfigError) as refused:
            read_token(open_to_all, {"GRELA_TOKEN": bad})
        assert bad not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.9", True), ("::1", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_is_told_from_the_rest(tmp_path, host, loopback):
    assert Settings(run=tmp_path, store="s", host=host).loopback is loopback


def test_limits_must_allow_something():
    with pytest.raises(ConfigError, match="limit k is 0"):
        Limits(k=0)


def test_the_more_popular_of_found_items_come_first():
    served = service()
    counts = dict(zip(served.served.items, served.served.fallback.tolist(), strict=True))
    found = [counts[one.item] for one in served.search.find("", 20)]
    assert found == sorted(found, reverse=True)
    assert len(found) == 20
    served.stop()


class Flaky(BaseHTTPRequestHandler):
    """Answers the third time only; remembers what it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(body)
        if len(self.server.seen) == 1:
            self.connection.close()
            return
        full = len(self.server.seen) == 2
        self.send_response(503 if full else 200)
        if full:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        answer = b'{"error": "full"}' if full else b'{"results": []}'
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_) -> None:
        pass


def test_a_client_repeats_the_same_events_until_it_is_answered():
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    server.seen = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pauses: list[float] = []
    with Client(f"http://127.0.0.1:{server.server_port}", sleep=pauses.append) as client:
        client.add("alice", "A17")
    server.shutdown()
    server.server_close()
    assert len(server.seen) == 3
    assert len(set(server.seen)) == 1
    assert b'"id"' in server.seen[0]
    assert pauses[1] == 1.0


def test_a_client_says_that_nothing_answers():
    with Client("http://127.0.0.1:9", patience=0, sleep=lambda seconds: None) as client:
        assert not client.ready()
        with pytest.raises(ServiceError, match="does not answer"):
            client.recommend("alice")
    with pytest.raises(ServiceError, match="expected such as"):
        Client("127.0.0.1:8000")
