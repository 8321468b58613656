"""What tests do with the page, as its readers would."""

from made_up_shop import TITLES
from playwright.sync_api import Page, expect


def pick(page: Page, item: int) -> None:
    """Search for the item by id and add it, by the keyboard."""
    page.focus("#search")
    page.keyboard.type(str(item))
    expect(page.locator("#search-options li")).to_have_count(1)
    page.keyboard.press("Enter")
    settled(page)


def settled(page: Page) -> None:
    """Wait until an event is through, with all that is shown of it."""
    page.wait_for_selector('#list[aria-busy="false"]')


def listed(page: Page) -> list[str]:
    """The titles in the list."""
    return page.locator("#list button").all_inner_texts()


def listed_items(page: Page) -> list[str]:
    """The items in the list, by id."""
    return page.locator("#list button").evaluate_all("rows => rows.map(row => row.dataset.item)")


def past(page: Page) -> list[str]:
    """The titles of the timeline, newest first."""
    return page.locator(".timeline .title").all_inner_texts()


def title(item: int) -> str:
    return TITLES[item]
