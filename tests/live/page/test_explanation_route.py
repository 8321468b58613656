"""What the page asks beside the service's own routes: explanations and users, over HTTP and from a store."""

from urllib.request import urlopen

import pytest
from page_service import Api

from grela import Recommender
from grela.errors import RefusedError
from grela.live.explaining import explanation
from grela.live.jobs import Wanted
from grela.live.loading import served_of
from grela.live.service import LOOKED_AT, known_users
from grela.store.memory import MemoryStore
from grela.store.protocol import Append, LoggedEvent, NewEvent, chronological

ORBIT, COLONY, SIGNAL = 1051, 1052, 1053


def test_the_explained_list_is_the_recommended_one(service: Api) -> None:
    service.add("explained", ORBIT, COLONY, SIGNAL, COLONY)
    for choice in ("k=5", "k=12&filter_seen=true", f"k=3&allow={ORBIT}&allow={COLONY}&filter_seen=false"):
        recommended = service.ask("GET", f"users/explained/recommendations?{choice}")["recommendations"]
        found = service.ask("GET", f"users/explained/explanation?{choice}")
        assert [one["item"] for one in found["items"]] == [one["item"] for one in recommended]
        assert [one["score"] for one in found["items"]] == pytest.approx(
            [one["score"] for one in recommended], abs=1e-4
        )
        assert [one["chance"]["place"] for one in found["items"]] == list(range(1, len(recommended) + 1))
        assert {"user", "events", "layers", "items"} == set(found)
        assert (found["user"], found["events"]) == ("explained", 4)


def test_layers_have_shares_of_one(service: Api) -> None:
    layers = service.ask("GET", "users/user-007/explanation")["layers"]
    assert [layer["layer"] for layer in layers] == [1, 2, 3]
    for layer in layers:
        assert layer["long_term"] + layer["short_term"] == pytest.approx(1, abs=1e-6)
        assert layer["gate"] > 0


def test_of_a_stranger_there_is_nothing_to_explain(service: Api) -> None:
    found = service.ask("GET", "users/stranger/explanation")
    assert found == {"user": "stranger", "events": 0, "layers": [], "items": []}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("users/user-007/explanation?k=0", "k is 0, expected 1 to"),
        ("users/user-007/explanation?k=many", "k is 'many', expected a whole number"),
        ("users/user-007/explanation?allow=5", "'5', which is not in the catalogue"),
        ("users/user-007/explanation?query=1", "the query has 'query', expected only k, filter_seen"),
        ("users?limit=0", "limit is 0"),
    ],
)
def test_what_is_asked_wrongly_is_refused(service: Api, path: str, words: str) -> None:
    status, said = service.refused(path)
    assert status == 422
    assert words in said


def test_users_are_found_by_prefix(service: Api) -> None:
    found = service.ask("GET", "users?query=user-00&limit=3")
    assert found == {"users": [{"user": f"user-00{n}"} for n in range(3)], "whole": False}
    assert service.ask("GET", "users?query=user-003") == {"users": [{"user": "user-003"}], "whole": True}
    assert service.ask("GET", "users?query=nobody-is-called-so")["users"] == []


def test_each_answer_says_how_long_the_server_took(service: Api) -> None:

    with urlopen(service.url + "health", timeout=30) as answer:
        name, duration = answer.headers["Server-Timing"].split(";dur=")
    assert name == "total"
    assert 0 < float(duration) < 10_000


def logged(*items: int) -> list[LoggedEvent]:
    """The history of someone who met an item a minute, but that 0 is none at all."""
    store = MemoryStore()
    events = (NewEvent(str(item), 60_000_000 * minute) for minute, item in enumerate(items) if item)
    store.append([Append("one", tuple(events))])
    return chronological(store.read("one").events)


def test_items_that_the_model_does_not_know_are_passed_over(shop_run) -> None:
    served = served_of(Recommender.load(shop_run, device="cpu"))
    wanted = Wanted(4)
    known, mixed = logged(ORBIT, 0, COLONY), logged(ORBIT, 999_999, COLONY, 888_888)
    first, second = (explanation(served, "one", history, wanted, longest=9) for history in (known, mixed))
    assert (first.items, first.layers) == (second.items, second.layers)
    assert (first.events, second.events) == (2, 4)
    assert explanation(served, "one", logged(999_999), wanted, longest=9).layers == []


def test_a_history_past_the_limit_is_refused(shop_run) -> None:
    served = served_of(Recommender.load(shop_run, device="cpu"))
    with pytest.raises(RefusedError, match="3 events, expected 2 at most") as refused:
        explanation(served, "one", logged(ORBIT, COLONY, SIGNAL), Wanted(4), longest=2)
    assert refused.value.status == 422


def test_a_search_that_did_not_look_at_all_users_says_so(monkeypatch) -> None:
    store = MemoryStore()
    for user in ("a1", "a2", "b1", "b2", "a3"):
        store.append([Append(user, (NewEvent("1", 0),))])
    assert known_users(store, "a", 9).whole
    assert not known_users(store, "a", 2).whole
    assert LOOKED_AT == 100_000
    monkeypatch.setattr("grela.live.service.LOOKED_AT", 4)
    assert not known_users(store, "a", 9).whole
    assert [one.user for one in known_users(store, "a", 9).users] == ["a1", "a2"]
