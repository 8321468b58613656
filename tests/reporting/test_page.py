"""Laws of the page as HTML: one file, well formed, nothing from outside, nothing executed, text as text."""

import re
from itertools import pairwise

from parsed_page import Page

from grela.reporting.report import ReportData, render

MAY_LOAD = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background", "formaction"}
HEADINGS = {"h1", "h2", "h3", "h4"}


def test_page_is_well_formed(any_page: str) -> None:
    page = Page(any_page)
    assert any_page.startswith("<!doctype html>")
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("html") == [{"lang": "en"}]


def test_ids_are_unique_and_every_reference_resolves(any_page: str) -> None:
    tags = Page(any_page).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    wanted = {r for _, a in tags for r in (a.get("aria-labelledby") or "").split()}
    wanted |= {(a["href"] or "").removeprefix("#") for _, a in tags if "href" in a}
    assert len(ids) == len(set(ids))
    assert wanted
    assert wanted <= set(ids)


def test_nothing_is_loaded_and_nothing_runs(any_page: str) -> None:
    page = Page(any_page)
    assert not {name for name, _ in page.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}> would run a script"
            assert name not in MAY_LOAD or (value or "").startswith("#"), (
                f"<{tag} {name}={value}> leaves the page"
            )
    style = re.search(r"<style>(.*?)</style>", any_page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_policy_forbids_all_but_inline_style(any_page: str) -> None:
    page = Page(any_page)
    policies = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    order = [name for name, _ in page.tags]
    assert order.index("meta") < order.index("style")


def test_hostile_titles_are_shown_and_not_obeyed(hostile: ReportData) -> None:
    text = Page(render(hostile)).text
    for shown in (
        "<script>alert(1)</script>",
        "&lt;already&amp;escaped",
        "{{ 7 * 7 }}{% raw %}",
        "(no title)",
    ):
        assert shown in text
    assert "שלום עולם" in text
    assert "👩‍👩‍👧‍👦🎬" in text


def test_forbidden_characters_become_visible_signs(hostile: ReportData) -> None:
    html = render(hostile)
    html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", html)
    assert "nul␀ bell␇ escape␛[31m delete␡ c1\ufffd lone\ufffd end" in html


def test_titles_are_isolated_from_the_direction_of_the_page(hostile: ReportData) -> None:
    html = render(hostile)
    example = html[html.index("<article") : html.index("</article>")]
    isolated = re.findall(r"<bdi>[^<]*\u202eevil[^<]*</bdi>", example)
    assert len(isolated) == example.count("\u202eevil") == 4  # heading, history, hidden, recommended


def test_no_number_is_shown_that_is_not_finite(any_page: str) -> None:
    page = Page(any_page)
    drawn = " ".join(value or "" for _, attributes in page.tags for value in attributes.values())
    assert not re.search(r"\b(nan|inf|infinity)\b", page.text + drawn, re.IGNORECASE)


def test_every_heading_of_a_table_has_its_scope(any_page: str) -> None:
    assert all(a.get("scope") in ("row", "col") for a in Page(any_page).all("th"))


def test_headings_never_skip_a_level(any_page: str) -> None:
    levels = [int(name[1]) for name, _ in Page(any_page).tags if name in HEADINGS]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
