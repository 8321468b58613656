"""The HTTP interface, by the framework's test client on an engine of its own."""

import json
from contextlib import contextmanager

import pytest
from live_cases import AFTER_LOG, ITEMS, Forked, service
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from fit_cases import fitted, history_of, times_of
from grela.errors import RefusedError, RunError
from grela.live.app import Application
from grela.live.guard import Guard
from grela.live.limits import Limits
from grela.live.page import page_files
from grela.live.rate import Rate
from grela.live.service import Service

URL = "http://127.0.0.1:8000"


@contextmanager
def asking(*, token=None, rate=None, client=("127.0.0.1", 50_000), **more):
    served = service(**more)
    app = Guard(Application(served), measures=served.measures, token=token, rate=rate)
    with TestClient(app, base_url=URL, client=client) as asked:
        yield asked


@pytest.fixture
def ask():
    with asking() as asked:
        yield asked


def post(ask, path: str, body, **more):
    return ask.post(path, json=body, **more)


def event(user=100, item=505, **more) -> dict:
    return {"user": user, "item": item} | more


def items(listed) -> list[str]:
    return [one["item"] for one in listed]


def recommended(history, times=None, **more) -> list[str]:
    (found,) = fitted().recommend([history], times=None if times is None else [times], **more)
    return [str(one.item) for one in found.items]


def test_events_are_logged_and_lists_follow_them(ask):
    body = {"events": [event(time=AFTER_LOG), event(101, "506")], "recommend": {"k": 3}}
    answer = post(ask, "/events", body).json()
    assert answer["results"] == [{"user": "100", "added": True}, {"user": "101", "added": True}]
    expected = recommended([*history_of(100), 505], [*times_of(100), AFTER_LOG], k=3)
    assert items(answer["recommendations"]["100"]) == expected
    assert set(answer["recommendations"]) == {"100", "101"}
    again = ask.get("/users/100/recommendations", params={"k": 3}).json()
    assert again == {"recommendations": answer["recommendations"]["100"], "cold_start": False, "user": "100"}


def test_an_event_with_an_id_is_logged_once(ask):
    body = {"events": [event(id="x"), event(id="x")]}
    assert [one["added"] for one in post(ask, "/events", body).json()["results"]] == [True, False]
    assert [one["added"] for one in post(ask, "/events", body).json()["results"]] == [False, False]
    assert ask.get("/users/100/history").json()["length"] == 13


def test_a_query_chooses_what_is_listed(ask):
    asked = ask.get(
        "/users/100/recommendations?k=4&allow=501&allow=502&allow=503&exclude=502&filter_seen=false"
    )
    assert set(items(asked.json()["recommendations"])) == {"501", "503"}
    unseen = ask.get("/users/100/recommendations?k=20&filter_seen=true").json()["recommendations"]
    assert not set(items(unseen)) & {str(item) for item in history_of(100)}


def test_titles_are_shown(ask):
    shown = ask.get("/users/100/recommendations?k=20&filter_seen=false").json()["recommendations"]
    assert {one["item"]: one["title"] for one in shown}["503"] == "Müller, Lüdenscheid"
    assert {one["item"]: one["title"] for one in shown}["501"] is None


def test_a_history_in_the_request_is_not_logged(ask):
    history, times = history_of(100), times_of(100)
    answer = post(ask, "/recommendations", {"history": history, "times": times, "k": 5}).json()
    assert items(answer["recommendations"]) == recommended(history, times, k=5)
    assert not answer["cold_start"]
    assert post(ask, "/recommendations", {"history": []}).json()["cold_start"]


def test_the_clients_list_for_a_history_is_the_recommenders(saved_run, tmp_path):
    history, times = history_of(100), times_of(100)
    choice = {"k": 5, "filter_seen": True, "exclude": [recommended(history, times, filter_seen=True)[0]]}
    (expected,) = fitted().recommend([history], times=[times], **choice)
    server = Forked(run=saved_run, store=str(tmp_path / "events.sqlite"), port=0)
    with server.client() as client:
        listed = client.recommend_to_history(history, times=times, **choice)
        assert items(listed) == [str(one.item) for one in expected.items]
        assert [one["score"] for one in listed] == pytest.approx([one.score for one in expected.items])
        assert [one["title"] for one in listed] == [one.title for one in expected.items]
        with pytest.raises(RefusedError, match="history, place 1 is '999'"):
            client.recommend_to_history([500, 999])
    assert server.end() == 0


def test_a_history_is_shown_newest_last(ask):
    post(ask, "/events", {"events": [event(item=503, time=AFTER_LOG)]})
    shown = ask.get("/users/100/history?limit=2").json()
    assert shown["length"] == 13
    assert shown["events"][-1] == {"item": "503", "title": "Müller, Lüdenscheid", "time": AFTER_LOG}
    assert len(shown["events"]) == 2
    assert ask.get("/users/nobody/history").json() == {
        "user": "nobody",
        "events": [],
        "length": 0,
        "time_unit": "given",
    }


def test_a_deleted_user_is_new_again(ask):
    assert ask.delete("/users/100").json() == {"user": "100", "deleted": 12}
    assert ask.delete("/users/100").json() == {"user": "100", "deleted": 0}
    assert ask.get("/users/100/recommendations").json()["cold_start"]


@pytest.mark.parametrize("user", ["a/b", "a b", "x/recommendations", "Zoë", "100%", "?", "a//b"])
def test_any_printable_id_is_a_user(ask, user):
    from urllib.parse import quote

    post(ask, "/events", {"events": [event(user)]})
    path = f"/users/{quote(user, safe='')}"
    assert ask.get(f"{path}/history").json()["length"] == 1
    assert ask.get(f"{path}/recommendations").json()["user"] == user
    assert ask.delete(path).json() == {"user": user, "deleted": 1}


def test_an_integer_id_may_be_given_as_text(ask):
    post(ask, "/events", {"events": [event("0100", "0505"), event(100, 505), event("100", "505")]})
    assert ask.get("/users/00100/history").json()["length"] == 15


def test_items_are_found_by_title(ask):
    assert ask.get("/items?query=MÜLLER").json() == {
        "items": [{"item": "503", "title": "Müller, Lüdenscheid"}]
    }
    assert items(ask.get("/items?query=507").json()["items"]) == ["507"]
    assert len(ask.get("/items?limit=7").json()["items"]) == 7
    assert ask.get("/items?query=nothing%20like%20it").json() == {"items": []}


BAD_BODIES = [
    (
        {"events": [event(item=999)]},
        422,
        r"event 0: item is '999', which is not in the catalogue of 20 items",
    ),
    ({"events": []}, 422, r"0 events, expected 1 to"),
    ({"events": [event(time=1.5)]}, 422, r"event 0: time is 1.5, expected a whole number"),
    ({"events": [event(time=2**62)]}, 422, r"event 0: time is beyond"),
    ({"events": [event(time=10**40)]}, 422, r"time"),
    ({"events": [event(time="2024-01-01")]}, 422, r"this log's times are plain numbers"),
    ({"events": [event(time=True)]}, 422, r"got `bool`"),
    ({"events": [event(user="")]}, 422, r"event 0: user has 0 characters, expected 1 to 256"),
    ({"events": [event(user="x" * 257)]}, 422, r"user has 257 characters"),
    ({"events": [event(user="a\u0007")]}, 422, r"user has the character U\+0007 at place 1"),
    ({"events": [event(user=2**63)]}, 422, r"user"),
    ({"events": [event(user=1.5)]}, 422, r"got `float`"),
    ({"events": [event(user=None)]}, 422, r"got `null`"),
    ({"events": [event(id="")]}, 422, r"event 0: id has 0 characters"),
    ({"events": [event(more=1)]}, 422, r"unknown field `more`"),
    ({"events": [{"user": 1}]}, 422, r"missing required field `item`"),
    ({"events": [event()], "recommend": {"k": 0}}, 422, r"k is 0, expected 1 to 1,000"),
    ({"events": [event()], "recommend": {"k": 1001}}, 422, r"k is 1001, expected 1 to 1,000"),
    ({"events": [event()], "recommend": {"allow": [999]}}, 422, r"allow, place 0 is '999'"),
    ({"events": [event()] * 1001}, 422, r"1,001 events, expected 1 to 1,000"),
    ([], 422, r"the body does not fit"),
]


@pytest.mark.parametrize(("body", "status", "message"), BAD_BODIES)
def test_events_that_cannot_be_are_refused_and_none_is_logged(ask, body, status, message):
    import re

    answer = post(ask, "/events", body)
    assert answer.status_code == status
    assert re.search(message, answer.json()["error"])
    assert ask.get("/users/100/history").json()["length"] == 12


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"events": [NaN]}', 400, "not JSON"),
        (b'{"events": [{"user": "\\ud800", "item": 505}]}', 400, "surrogate"),
        (b'{"events": [{"user": "\xff", "item": 505}]}', 400, "not JSON"),
        (b'{"events": [{"user": 100, "item": 505, "time": 1e999}]}', 422, "out of range"),
        (b"[" * 100_000, 422, "does not fit"),
        (b'{"events": ' + b"1" * 5000 + b"}", 422, ""),
    ],
)
def test_what_is_no_json_is_refused(ask, raw, status, message):
    answer = ask.post("/events", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/users/100/recommendations?k=x", 422, "k is 'x', expected a whole number"),
        ("/users/100/recommendations?k=0", 422, "k is 0, expected 1 to 1,000"),
        ("/users/100/recommendations?k=" + "9" * 5000, 422, "expected a whole number"),
        ("/users/100/recommendations?k=1&k=2", 422, "k is given 2 times"),
        ("/users/100/recommendations?filter_seen=maybe", 422, "expected true or false"),
        ("/users/100/recommendations?allow=999", 422, "allow, place 0 is '999'"),
        ("/users/100/recommendations?q=1", 422, "the query has 'q', expected only k,"),
        ("/users/100/recommendations?allow=%FF", 400, "percent-encode it as UTF-8"),
        ("/users/%FF/recommendations", 400, "the path is not UTF-8"),
        ("/users/%ED%A0%80/recommendations", 400, "the path is not UTF-8"),
        ("/users/a%00b/recommendations", 422, "U+0000"),
        ("/users//recommendations", 422, "user has 0 characters"),
        ("/users/100/history?limit=0", 422, "limit is 0"),
        ("/items?limit=100000", 422, "limit is 100000"),
        ("/nothing", 404, "GET /nothing: not found"),
        ("/events", 405, "GET /events: method not allowed"),
    ],
)
def test_addresses_that_cannot_be_are_refused(ask, path, status, message):
    answer = ask.get(path)
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"history": [999]}, "history, place 0 is '999'"),
        ({"history": [500] * 10_001}, "history has 10,001 items, expected 10,000 at most"),
        ({"history": [500, 501], "times": [1]}, "times has 1 entries"),
        ({"history": [500, 501], "times": [2, 1]}, "times goes back at place 1, from 2 to 1"),
        ({"history": [500], "exclude": [999]}, "exclude, place 0 is '999'"),
    ],
)
def test_histories_that_cannot_be_are_refused(ask, body, message):
    answer = post(ask, "/recommendations", body)
    assert answer.status_code == 422
    assert message in answer.json()["error"]


def test_a_body_that_is_too_large_is_refused_whether_its_size_is_said_or_not():
    with asking(limits=Limits(body=1000)) as ask:
        assert post(ask, "/events", {"events": [event(user="x" * 1000)]}).status_code == 413
        parts = ask.post(
            "/events", content=iter([b"x" * 600] * 2), headers={"content-type": "application/json"}
        )
        assert parts.status_code == 413
        assert "expected 1,000 at most" in parts.json()["error"]


def test_a_body_must_say_that_it_is_json(ask):
    answer = ask.post(
        "/events", content=json.dumps({"events": [event()]}), headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 415


def test_without_a_token_only_loopback_names_and_own_pages_are_answered(ask):
    assert ask.get("/items", headers={"host": "evil.example"}).status_code == 403
    assert ask.get("/items", headers={"host": "localhost:8000"}).status_code == 200
    assert ask.get("/items", headers={"host": "[::1]:8000"}).status_code == 200
    assert ask.get("/items", headers={"origin": "http://evil.example"}).status_code == 403
    assert ask.get("/items", headers={"origin": URL}).status_code == 200


def test_a_token_is_asked_for_but_for_health():
    with asking(token="0123456789abcdef") as ask:
        for given in (None, "Bearer wrong", "0123456789abcdef", "Basic 0123456789abcdef"):
            answer = ask.get("/items", headers={} if given is None else {"authorization": given})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert ask.get("/items", headers={"authorization": "Bearer 0123456789abcdef"}).status_code == 200
        assert ask.get("/health").status_code == ask.get("/ready").status_code == 200
        assert ask.get("/metrics").status_code == 401


def test_a_client_that_asks_too_often_is_told_when_to_ask_again():
    with asking(rate=Rate(2)) as ask:
        answers = [ask.get("/health") for _ in range(6)]
        assert [answer.status_code for answer in answers[:4]] == [200] * 4
        assert answers[-1].status_code == 429
        assert answers[-1].headers["retry-after"] == "1"


def test_reloading_says_what_is_served_and_a_bad_run_changes_nothing():
    def bad():
        raise RunError("the run is gone")

    with asking(load=bad) as ask:
        answer = ask.post("/model/reload")
        assert (answer.status_code, answer.json()) == (
            409,
            {"error": "the model was not changed: the run is gone"},
        )
        assert ask.get("/users/100/recommendations").status_code == 200
    with asking() as ask:
        assert len(ask.post("/model/reload").json()["model"]) == 64


def test_metrics_count_what_was_done(ask):
    post(ask, "/events", {"events": [event(id="x"), event(id="x")], "recommend": {}})
    ask.get("/nothing")
    families = {one.name: one for one in text_string_to_metric_families(ask.get("/metrics").text)}
    value = {name: family.samples[0].value for name, family in families.items() if family.samples}
    assert (value["grela_events"], value["grela_repeated"], value["grela_lists"]) == (1, 1, 1)
    requests = {(s.labels["route"], s.labels["status"]): s.value for s in families["grela_requests"].samples}
    assert requests == {("events", "200"): 1, ("none", "404"): 1}
    (model,) = families["grela_model_info"].samples
    assert len(model.labels["fingerprint"]) == 64


def test_the_document_says_every_route(ask):
    document = ask.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    served = {route.path.replace(":id}", "}") for route in ask.app.app.router.routes}
    assert set(document["paths"]) == served - set(page_files())
    assert len(ITEMS) == 20


def test_what_fails_in_an_endpoint_is_an_answer_and_is_logged(ask, monkeypatch, caplog):
    async def broken(*arguments):
        raise ZeroDivisionError("not for the client to see")

    monkeypatch.setattr(Service, "find", broken)
    answer = ask.get("/items")
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service failed; its log says why"}
    assert "GET items failed" in caplog.text
    assert "not for the client to see" in caplog.text
    assert ask.get("/health").status_code == 200
