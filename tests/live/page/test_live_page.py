"""The page in a real browser before a real service: what its readers do, see and are told."""

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the extra dev")

from made_up_shop import HOSTILE
from page_actions import listed, listed_items, past, pick, settled, title
from page_service import Api, Open
from playwright.sync_api import expect

ORBIT, COLONY, SIGNAL = 1051, 1052, 1053


def test_an_item_is_found_and_added_by_the_keyboard_alone(look: Open, service: Api) -> None:
    page = look("keyboard")
    search = page.locator("#search")
    search.focus()
    page.keyboard.type("silent")
    expect(page.locator("#search-options [role=option]")).to_have_count(5)
    expect(search).to_have_attribute("aria-expanded", "true")
    first = search.get_attribute("aria-activedescendant")
    page.keyboard.press("ArrowDown")
    active = search.get_attribute("aria-activedescendant")
    assert active is not None
    assert active != first
    option = page.locator(f"#{active}")
    expect(option).to_have_attribute("aria-selected", "true")
    chosen = option.locator("bdi").first.inner_text()
    page.keyboard.press("Enter")
    settled(page)
    expect(search).to_have_attribute("aria-expanded", "false")
    expect(search).to_have_value("")
    expect(search).to_be_focused()
    assert past(page) == [chosen]
    assert [event["title"] for event in service.history("keyboard")] == [chosen]
    expect(page.locator("#news")).to_contain_text(f"Added {chosen}. In the list:")


def test_arrow_keys_go_round_and_escape_closes_then_empties(look: Open) -> None:
    page = look("arrows")
    search = page.locator("#search")
    search.focus()
    page.keyboard.type("silent")
    expect(search).to_have_attribute("aria-activedescendant", "search-options-0")
    page.keyboard.press("ArrowUp")
    expect(search).to_have_attribute("aria-activedescendant", "search-options-4")
    page.keyboard.press("ArrowDown")
    expect(search).to_have_attribute("aria-activedescendant", "search-options-0")
    page.keyboard.press("Escape")
    expect(page.locator("#search-options")).to_be_hidden()
    assert search.get_attribute("aria-activedescendant") is None
    expect(search).to_have_value("silent")
    page.keyboard.press("Escape")
    expect(search).to_have_value("")


def test_a_text_in_no_title_is_said_to_be_in_none(look: Open) -> None:
    page = look("nothing")
    page.fill("#search", "zzzz")
    expect(page.locator("#search-note")).to_have_text("No item has “zzzz” in its title.")
    expect(page.locator("#news")).to_have_text("No item has “zzzz” in its title.")
    page.keyboard.press("Enter")
    expect(page.locator("#search-options")).to_be_hidden()


def test_each_event_moves_the_list_and_each_row_says_how(look: Open, service: Api) -> None:
    page = look("moves")
    before = listed_items(page)
    expect(page.locator("#list-note")).to_contain_text("the most popular items")
    assert page.locator("#list .sign").count() == 0
    for item in (ORBIT, COLONY, SIGNAL):
        pick(page, item)
        after = listed_items(page)
        answer = service.ask("GET", "users/moves/recommendations?filter_seen=false")
        assert [one["item"] for one in answer["recommendations"]] == after
        signs = page.locator("#list .sign .unseen").all_inner_texts()
        assert signs == [movement(before, item, place) for place, item in enumerate(after)]
        before = after
    expect(page.locator("#list-note")).to_have_text("")


def movement(before: list[str], item: str, place: int) -> str:
    """How a row's move is told to those who cannot see its sign."""
    if item not in before:
        return "new in the list"
    moved = before.index(item) - place
    if moved == 0:
        return "same place"
    return f"{abs(moved)} place{'s' if abs(moved) > 1 else ''} {'up' if moved > 0 else 'down'}"


def test_an_item_of_the_list_can_be_picked_and_the_focus_stays_in_the_list(look: Open) -> None:
    page = look("picks")
    second = page.locator("#list li").nth(1).locator("button")
    name = second.inner_text()
    second.focus()
    page.keyboard.press("Enter")
    settled(page)
    assert past(page) == [name]
    assert page.evaluate("document.activeElement.closest('#list') !== null")


def test_events_picked_fast_are_all_added_in_order(look: Open, service: Api) -> None:
    page = look("fast")
    names = []
    for _ in range(4):
        button = page.locator("#list li").first.locator("button")
        names.append(button.inner_text())
        button.dispatch_event("click")
    expect(page.locator(".timeline li")).to_have_count(4)
    assert [event["title"] for event in service.history("fast")] == names


def test_timeline_shows_pauses_and_repeats(look: Open, service: Api) -> None:
    days = ["2025-03-01T20:00", "2025-03-01T21:30", "2025-03-04T21:30", "2025-09-04T21:30"]
    service.add("timeline", ORBIT, COLONY, ORBIT, ORBIT, times=days)
    page = look("timeline", timezone_id="UTC")
    assert past(page) == [title(item) for item in (ORBIT, ORBIT, COLONY, ORBIT)]
    rows = page.locator(".timeline li")
    pauses = page.locator(".timeline .pause")
    assert pauses.all_inner_texts() == ["6 months later", "3 days later", "2 hours later", ""]
    heights = [pauses.nth(row).bounding_box()["height"] for row in range(4)]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > heights[2]
    assert [rows.nth(row).locator(".again").all_inner_texts() for row in range(4)] == [
        ["3rd time"],
        ["2nd time"],
        [],
        [],
    ]
    assert "Mar 1, 2025" in rows.nth(3).locator("time").inner_text()
    expect(page.locator("#user-facts")).to_have_text("4 events")


def test_older_events_are_shown_when_asked_for(look: Open, service: Api) -> None:
    service.add("long", *[1001 + number % 100 for number in range(120)])
    page = look("long")
    expect(page.locator(".timeline li")).to_have_count(50)
    expect(page.locator(".rest")).to_contain_text("70 older events not shown")
    page.get_by_role("button", name="Show older events").click()
    expect(page.locator(".timeline li")).to_have_count(100)
    page.get_by_role("button", name="Show older events").click()
    expect(page.locator(".timeline li")).to_have_count(120)
    assert page.locator(".rest").count() == 0


def test_what_moved_the_list_is_what_the_service_says(look: Open, service: Api) -> None:
    service.add("why", ORBIT, COLONY, SIGNAL)
    page = look("why")
    expect(page.locator(".layers li")).to_have_count(3)
    said = service.ask("GET", "users/why/explanation?filter_seen=false")
    for layer, text in zip(said["layers"], page.locator(".layers .unseen").all_inner_texts(), strict=True):
        long = round(100 * layer["long_term"])
        assert text == (
            f"Layer {layer['layer']}: {long}\u00a0% long-term attention, {100 - long}\u00a0% short-term branch; "
            f"gate open by {layer['gate']:.2f} on average."
        )
    assert [row["item"] for row in said["items"]] == listed_items(page)
    words = page.locator("#list .effect.long .unseen").all_inner_texts()
    for item, text in zip(said["items"], words, strict=True):
        assert text.endswith(f"it would be in place {item['without_long_term']['place']}.")
    gone = sum(item["without_long_term"]["place"] > 10 for item in said["items"])
    still = f"{gone} of the 10 items would not" if gone else "all 10 items would still"
    expect(page.locator("#why")).to_contain_text(f"Without the long-term attention, {still} be here")


def test_items_met_can_be_left_out(look: Open) -> None:
    page = look("filters")
    for item in (ORBIT, COLONY, ORBIT):
        pick(page, item)
    assert set(past(page)) & set(listed(page))
    page.focus("#filter-seen")
    page.keyboard.press("Space")
    expect(page.locator("#filter-seen")).to_be_checked()
    expect(page.locator("#list button").filter(has_text=title(ORBIT))).to_have_count(0)
    assert not set(past(page)) & set(listed(page))


def test_the_time_of_each_step_is_shown(look: Open) -> None:
    page = look("timed")
    for item in (ORBIT, COLONY):
        pick(page, item)
    server, trip = (
        float(page.locator(f"#latency .{kind} .big").inner_text().split()[0]) for kind in ("server", "trip")
    )
    assert 0 < server < trip
    assert (
        page.locator("#latency svg")
        .get_attribute("aria-label")
        .startswith("The last 2 steps, in milliseconds.")
    )
    assert page.locator("#latency polyline").count() == 2


def test_a_user_is_deleted_after_a_question_only(look: Open, service: Api) -> None:
    service.add("goes", ORBIT, COLONY)
    page = look("goes")
    dialog = page.locator("#delete-dialog")
    for keep in ("Escape", "Enter"):  # the focus is on Keep
        page.click("#delete")
        expect(dialog).to_contain_text("Delete user goes?".replace("goes", "\u2068goes\u2069"))
        page.keyboard.press(keep)
        expect(dialog).to_be_hidden()
        assert len(service.history("goes")) == 2
    page.click("#delete")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator("#news")).to_have_text("User goes is deleted.")
    assert service.history("goes") == []


def test_users_are_found_by_how_their_ids_begin(look: Open) -> None:
    page = look()
    page.focus("#user")
    page.keyboard.type("user-01")
    options = page.locator("#user-options [role=option]")
    expect(options).to_have_count(10)
    assert page.locator("#user").get_attribute("aria-activedescendant") is None
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#user-name")).to_have_text("user-011")
    expect(page.locator("#user-facts")).to_have_text("40 events")
    assert page.url.endswith("#user=user-011")


def test_any_id_starts_a_user_and_the_page_finds_it_again(look: Open, service: Api) -> None:
    page = look()
    page.fill("#user", "a/b & c?")
    page.keyboard.press("Enter")
    expect(page.locator("#user-name")).to_have_text("a/b & c?")
    pick(page, ORBIT)
    page.reload()
    expect(page.locator("#user-name")).to_have_text("a/b & c?")
    expect(page.locator(".timeline li")).to_have_count(1)
    assert len(service.history("a%2Fb%20%26%20c%3F")) == 1


def test_a_new_user_can_begin_at_once(look: Open) -> None:
    page = look()
    page.click("#begin")
    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#user-name")).to_contain_text("guest-")
    expect(page.locator("#user-facts")).to_have_text("no events yet")
    assert len(listed(page)) == 10


def test_titles_are_text_whatever_they_hold(look: Open, service: Api) -> None:
    service.add("hostile", *HOSTILE)
    page = look("hostile")
    expect(page.locator(".layers li")).to_have_count(3)
    assert past(page)[::-1] == [" ".join(text.split()) for text in HOSTILE.values()]
    page.focus("#search")
    page.keyboard.type("onerror")
    expect(page.locator("#search-options li")).to_contain_text(["<img src=x onerror="])
    page.keyboard.press("Enter")
    settled(page)
    expect(page.locator("#news")).to_contain_text("Added <img src=x onerror=")
    assert page.locator("main img, script:not([src])").count() == 0
    assert page.title() == "grela live"
