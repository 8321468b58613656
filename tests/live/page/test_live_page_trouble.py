"""The page when something is wrong: said in words, with a way on, and no event counted twice."""

from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the extra dev")

from page_actions import past, pick, settled, title
from page_service import Api, Open, serving
from playwright.sync_api import Route, expect

ORBIT, COLONY = 1051, 1052
FAILED = "Failed to load resource"


def test_what_the_service_refuses_is_shown_in_its_words(look: Open, service: Api) -> None:
    page = look("refused", wrong=(FAILED,))
    said = "50,000 events and lists wait already; ask again in a moment"
    page.route("**/events", lambda route: route.fulfill(status=503, json={"error": said}), times=1)
    page.focus("#search")
    page.keyboard.type(str(ORBIT))
    page.wait_for_selector("#search-options li")
    page.keyboard.press("Enter")
    expect(page.locator("#problem p")).to_have_text(said)
    assert service.history("refused") == []
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".timeline li")).to_have_count(1)
    expect(page.locator("#problem")).to_be_hidden()


def test_a_lost_event_is_not_forgotten_over_what_goes_well(look: Open, service: Api) -> None:
    page = look("later", wrong=(FAILED,))
    page.route("**/events", lambda route: route.abort(), times=1)
    page.focus("#search")
    page.keyboard.type(str(ORBIT))
    page.wait_for_selector("#search-options li")
    page.keyboard.press("Enter")
    expect(page.locator("#problem p")).to_contain_text("cannot be reached")
    pick(page, COLONY)
    expect(page.locator("#problem p")).to_contain_text("cannot be reached")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".timeline li")).to_have_count(2)
    expect(page.locator("#problem")).to_be_hidden()
    assert past(page) == [title(ORBIT), title(COLONY)]


def test_a_refusal_of_the_real_service_is_shown(look: Open) -> None:
    page = look(wrong=(FAILED,))
    page.fill("#user", "x" * 300)
    page.keyboard.press("Enter")
    expect(page.locator("#problem p")).to_contain_text("300 characters, expected 1 to 256")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#problem")).to_be_hidden()


def test_an_event_whose_answer_was_lost_counts_once(look: Open, service: Api) -> None:
    page = look("lost", wrong=(FAILED,))

    def lose(route: Route) -> None:
        route.fetch()  # the service gets it, and the page never hears of it
        route.abort()

    page.route("**/events", lose, times=1)
    page.focus("#search")
    page.keyboard.type(str(ORBIT))
    page.wait_for_selector("#search-options li")
    page.keyboard.press("Enter")
    expect(page.locator("#problem p")).to_contain_text("The service cannot be reached")
    assert len(service.history("lost")) == 1
    page.get_by_role("button", name="Try again").click()
    settled(page)
    assert past(page) == [title(ORBIT)]
    assert len(service.history("lost")) == 1


def test_a_service_that_is_gone_is_said_to_be_and_found_again(look: Open) -> None:
    page = look("gone", wrong=(FAILED,))
    page.context.set_offline(True)
    page.focus("#search")
    page.keyboard.type("silent")
    expect(page.locator("#problem p")).to_contain_text(
        "The service cannot be reached. Check that it is running"
    )
    page.context.set_offline(False)
    page.fill("#search", "")
    pick(page, COLONY)
    expect(page.locator("#problem")).to_be_hidden()
    assert past(page) == [title(COLONY)]


def test_an_answer_that_is_no_json_is_not_taken_for_one(look: Open) -> None:
    page = look("odd", wrong=(FAILED,))
    page.route("**/items?*", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"), times=1)
    page.fill("#search", "silent")
    expect(page.locator("#problem p")).to_have_text("The service failed (502). Try again; its log says why.")
    page.route("**/items?*", lambda route: route.fulfill(status=200, body="<h1>Hello</h1>"), times=1)
    page.fill("#search", "silen")
    expect(page.locator("#problem p")).to_contain_text("an answer that this page does not understand")


def test_a_history_too_long_to_be_explained_still_has_its_list(look: Open) -> None:
    said = "the history has 100,001 events, expected 100,000 at most"
    page = look(wrong=(FAILED,))
    page.route("**/explanation?*", lambda route: route.fulfill(status=422, json={"error": said}))
    page.click("#begin")
    pick(page, ORBIT)
    expect(page.locator("#why")).to_have_text(said)
    expect(page.locator("#problem")).to_be_hidden()
    assert page.locator("#list li").count() == 10


def test_a_token_is_asked_for_once_and_kept_in_memory_alone(
    look: Open, shop_run: Path, tmp_path: Path
) -> None:
    token = "a-token-of-thirty-two-characters-or-more"
    for api in serving(shop_run, tmp_path, GRELA_TOKEN=token):
        page = look(url=api.url, wrong=(FAILED,))
        dialog = page.locator("#token-dialog")
        page.click("#begin")
        expect(dialog).to_contain_text("kept until this page is closed")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("does not accept this token")
        page.keyboard.type(token)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.locator("#list li")).to_have_count(10)
        pick(page, ORBIT)
        assert past(page) == [title(ORBIT)]
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert page.input_value("#token") == ""
        page.reload()
        page.wait_for_selector("#token-dialog[open]")
        page.keyboard.press("Escape")
        expect(page.locator("#problem p")).to_have_text("Without the token the service does not answer.")
