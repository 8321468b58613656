"""Items that are added to a service's catalogue and removed from it."""

from contextlib import contextmanager

import pytest
from live_cases import AFTER_LOG, seeded_store, service, serving
from starlette.testclient import TestClient

from fit_cases import fitted, history_of
from grela.live.app import Application
from grela.live.limits import Limits
from grela.recommender import Recommender
from grela.store.protocol import START, Append, NewEvent

URL = "http://127.0.0.1:8000"


@pytest.fixture
def run(tmp_path):
    fitted().save(tmp_path / "run")
    return tmp_path / "run"


@contextmanager
def asking(**more):
    with TestClient(Application(service(**more)), base_url=URL) as asked:
        yield asked


def add(ask, *items):
    return ask.post("/items", json={"items": list(items)})


def listed(ask, user, **query) -> list[str]:
    found = ask.get(f"/users/{user}/recommendations", params=query).json()
    return [one["item"] for one in found["recommendations"]]


def test_an_added_item_is_found_recommended_and_followed_at_once(run):
    with asking(run=run) as ask:
        answer = add(ask, {"item": 900, "like": {"505": 2.0, "506": 1.0}, "title": "Blue kettle"})
        assert answer.status_code == 200
        assert answer.json()["items"] == ["900"]
        assert ask.get("/items", params={"query": "kettle"}).json()["items"] == [
            {"item": "900", "title": "Blue kettle"}
        ]
        assert listed(ask, 100, allow=900) == ["900"]
        body = {"events": [{"user": 100, "item": 900, "time": AFTER_LOG}], "recommend": {"k": 5}}
        after = ask.post("/events", json=body).json()["recommendations"]["100"]
    (expected,) = Recommender.load(run).recommend(
        [[*history_of(100), 900]], times=[[*times_with(100), AFTER_LOG]], k=5
    )
    assert [one["item"] for one in after] == [str(one.item) for one in expected.items]


def times_with(user) -> list[int]:
    histories = fitted().split.histories
    return histories.times_of(int(histories.users.encode([user])[0])).tolist()


def test_a_removed_item_is_not_recommended_found_or_added_again_but_still_understood(run):
    with asking(run=run) as ask:
        best = listed(ask, 100, k=1)[0]
        assert ask.delete(f"/items/{best}").json()["items"] == [best]
        assert best not in listed(ask, 100, k=20)
        assert listed(ask, 100, allow=best) == []
        assert best not in [one["item"] for one in ask.get("/items", params={"query": best}).json()["items"]]
        event = {"events": [{"user": 100, "item": best}]}
        assert ask.post("/events", json=event).json()["results"] == [{"user": "100", "added": True}]
        assert ask.delete(f"/items/{best}").status_code == 422
        refused = add(ask, {"item": best, "like": [505 if best != "505" else 506]})
        assert (refused.status_code, "removed" in refused.json()["error"]) == (422, True)


def test_states_are_kept_but_for_those_that_skipped_what_is_known_now(run):
    store = seeded_store()
    store.append([Append("101", (NewEvent("900", AFTER_LOG, None),), START)])
    served = service(store, run=run)
    with TestClient(Application(served), base_url=URL) as ask:
        before = [listed(ask, user) for user in (100, 101)]
        assert (served.measures.hits, served.measures.unknown) == (0, 1)
        assert ask.delete("/items/519").status_code == 200
        assert add(ask, {"item": 900, "like": [506]}).status_code == 200
        assert listed(ask, 100, exclude=900, k=5) == [item for item in before[0] if item != "519"][:5]
        assert served.measures.hits == 1
        listed(ask, 101)
        assert (served.measures.hits, served.measures.unknown) == (1, 1)
        asked = {"history": [*history_of(101), 900], "times": [*times_with(101), AFTER_LOG]}
        expected = ask.post("/recommendations", json=asked).json()["recommendations"]
        assert listed(ask, 101) == [one["item"] for one in expected]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"item": 505, "like": [506]}, "in the catalogue already"),
        ({"item": 900, "like": [7]}, "does not know"),
        ({"item": 900, "like": []}, "like nothing"),
        ({"item": 900, "like": {"505": -1.0}}, "positive"),
        ({"item": "blue", "like": [505]}, "integers"),
        ({"item": 900, "like": [505], "bias": 1e400}, "out of range"),
        ({"item": 900, "like": [505], "title": "a\u0007"}, "control"),
        ({"item": 900, "like": [505], "title": ""}, "0 characters"),
        ({"item": 900, "like": [505], "color": "blue"}, "does not fit"),
    ],
)
def test_an_item_that_cannot_be_added_changes_nothing_and_is_explained(run, item, said):
    with asking(run=run) as ask:
        text = repr(item).replace("'", '"').replace("inf", "1e400").replace("\\x07", "\\u0007")
        answer = ask.post(
            "/items", content=f'{{"items": [{text}]}}', headers={"content-type": "application/json"}
        )
        assert 400 <= answer.status_code < 500
        assert said in answer.json()["error"]
        assert not (run / "item_changes.safetensors").exists()


def test_all_or_none_are_added(run):
    with asking(run=run, limits=Limits(new_items=2)) as ask:
        assert add(ask, {"item": 900, "like": [505]}, {"item": 505, "like": [506]}).status_code == 422
        assert listed(ask, 100, k=30) == listed(ask, 100, k=20)
        many = [{"item": 900 + n, "like": [505]} for n in range(3)]
        assert "1 to 2" in add(ask, *many).json()["error"]


def test_a_run_that_cannot_be_changed_now_is_a_conflict():
    with asking() as ask:
        answer = add(ask, {"item": 900, "like": [505]})
        assert (answer.status_code, answer.json()["error"]) == (
            409,
            "the catalogue was not changed: this run is in no folder",
        )


def test_every_worker_serves_what_one_was_told_and_so_does_the_next_start(run, tmp_path):
    arguments = ("--store", tmp_path / "log.sqlite", "--workers", 2)
    with serving(run, *arguments) as server:
        with server.client() as client:
            assert client.add_items([{"item": 900, "like": [505], "title": "Kettle"}]) == ["900"]
            client.remove_item(506)
            for user in range(100, 110):
                assert [one["item"] for one in client.recommend(user, allow=[900])] == ["900"]
                assert client.recommend(user, allow=[506]) == []
        assert server.end() == 0
    with serving(run, *arguments) as server, server.client() as client:
        assert client.find("kettle") == [{"item": "900", "title": "Kettle"}]
