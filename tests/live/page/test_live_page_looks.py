"""How the page looks: on a phone and a desktop, in light and dark, at rest for those who ask for it."""

import re
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the extra dev")

from made_up_shop import HOSTILE
from page_actions import pick
from page_service import Api, Open
from playwright.sync_api import Page, expect

from reporting.wcag import contrast

ORBIT, COLONY = 1051, 1052
COLOURS = """() => {
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "none";
  };
  const found = new Set();
  for (const e of document.body.querySelectorAll("*")) {
    const shown = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    if (!shown || !e.checkVisibility() || e.closest(".unseen, .skip, noscript")) continue;
    found.add(JSON.stringify([getComputedStyle(e).color, ground(e), e.className || e.tagName]));
  }
  return [...found].map(JSON.parse);
}"""
FOCUSED = """() => {
  const e = document.activeElement;
  return e.id || e.className || e.textContent.trim();
}"""


def busy_page(look: Open, service: Api, user: str, **options: Any) -> Page:
    """A page with everything on it: hostile titles, moves, options open, a problem."""
    service.add(user, *HOSTILE, *HOSTILE)
    page = look(user, **options)
    pick(page, ORBIT)
    page.click("summary")
    page.focus("#search")
    page.keyboard.type("the")
    expect(page.locator("#search-options li")).to_have_count(12)
    return page


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1440])
def test_nothing_is_wider_than_the_window(look: Open, service: Api, width: int) -> None:
    page = busy_page(look, service, f"wide-{width}", width=width)
    scroll, client = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert scroll <= client
    inside = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('.unseen, svg') &&"
        " e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(e => e.className)"
    )
    assert inside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_legible(look: Open, service: Api, scheme: str) -> None:
    page = busy_page(look, service, f"legible-{scheme}", color_scheme=scheme)
    (ground,) = {tuple(_rgb(page.evaluate("getComputedStyle(document.body).backgroundColor")))}
    assert (sum(ground) > 600) == (scheme == "light")
    texts = page.evaluate(COLOURS)
    page.keyboard.press("Escape")
    page.click("#delete")
    texts += page.evaluate(COLOURS)
    assert len(texts) > 15
    for text, behind, where in texts:
        assert contrast(_rgb(text), _rgb(behind)) >= 4.5, (text, behind, where)


def _rgb(colour: str) -> list[int]:
    parts = [int(part) for part in re.findall(r"\d+", colour)]
    assert len(parts) == 3, colour  # opaque
    return parts


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_rows_move_only_where_motion_is_welcome(look: Open, motion: str) -> None:
    page = look(f"motion-{motion}", reduced_motion=motion)
    for item in (ORBIT, COLONY):
        pick(page, item)
    assert (page.evaluate("window.animations") > 0) == (motion == "no-preference")
    assert page.evaluate(
        "getComputedStyle(document.querySelector('.track'), '::after').transitionDuration"
    ) == ("0s" if motion == "reduce" else "0.15s")


def test_the_keyboard_goes_through_the_page_in_its_order(look: Open, service: Api) -> None:
    service.add("order", ORBIT)
    page = look("order")
    page.wait_for_selector(".layers li")
    order = []
    for _ in range(30):
        page.keyboard.press("Tab")
        order.append(page.evaluate(FOCUSED))
    rows = page.locator("#list button").all_inner_texts()
    expected = [
        "skip",
        "user",
        "Open",
        "new-user",
        "delete",
        "search",
        "filter-seen",
        *rows,
        "How to read this",
        "timeline",
    ]
    assert [one for one in order if one][: len(expected)] == expected


def test_the_focus_can_be_seen_wherever_it_is(look: Open) -> None:
    page = look("seen")
    for _ in range(12):
        page.keyboard.press("Tab")
        width, style = page.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle("
            "e.id === 'filter-seen' ? e.nextElementSibling : e); return [s.outlineWidth, s.outlineStyle]; })()"
        )
        assert (width, style) == ("2px", "solid")


def test_everything_that_acts_has_a_name_and_room_for_a_finger(look: Open, service: Api) -> None:
    service.add("named", *[1001 + number % 90 for number in range(60)])
    page = look("named", width=390, has_touch=True)
    page.wait_for_selector(".rest button")
    for role in ("button", "combobox", "switch"):
        for found in page.get_by_role(role).all():
            assert found.is_visible()
            box = found.bounding_box()
            assert box is not None
            assert min(box["height"], box["width"]) >= 32
    names = page.locator("body").aria_snapshot()
    assert 'combobox "User"' in names
    assert 'combobox "Add an event"' in names
    assert 'switch "Leave out items already met"' in names
    assert 'button ""' not in names
