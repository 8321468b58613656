"""Laws of the page's files: nothing inline, nothing from elsewhere, all words in one place, all of them served."""

import re
from urllib.request import urlopen

import pytest
from page_service import Api

from grela.live.page import POLICY, page_files
from reporting.parsed_page import Page

HTML = page_files()["/"].body.decode()
SCRIPTS = {path: file.body.decode() for path, file in page_files().items() if path.endswith(".js")}


def test_every_file_that_one_names_is_there() -> None:
    page = Page(HTML)
    named = [a.get("src") or a.get("href") for tag in ("script", "link", "img") for a in page.all(tag)]
    assert {f"/{path}" for path in named} <= set(page_files())
    imported = {name for text in SCRIPTS.values() for name in re.findall(r'from "\./([a-z]+\.js)"', text)}
    assert {f"/page/{name}" for name in imported} | {"/page/app.js"} == set(SCRIPTS)


def test_nothing_is_inline_so_that_a_strict_policy_holds() -> None:
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    for tag, attributes in Page(HTML).tags:
        assert tag != "style"
        assert tag != "script" or "src" in attributes
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
    for text in SCRIPTS.values():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
        )
        assert not re.search(r"localStorage|sessionStorage|document\.cookie", text)


def test_nothing_comes_from_another_host() -> None:
    for path, file in page_files().items():
        addresses = re.findall(r"(?:https?:)?//[a-z][\w.]+", file.body.decode())
        assert set(addresses) <= {"http://www.w3.org"}, path


def test_words_are_in_one_file() -> None:
    page = Page(HTML)
    assert page.text.strip() == "grela live This page needs JavaScript."
    strings = SCRIPTS["/page/strings.js"]
    for _, attributes in page.tags:
        for name in ("data-words", "data-placeholder", "data-label"):
            if name in attributes:
                group, word = (
                    (attributes[name] or "").rsplit(".", 1)
                    if "." in (attributes[name] or "")
                    else ("", attributes[name])
                )
                assert re.search(rf"^  {group}: {{$" if group else rf"^  {word}: ", strings, re.MULTILINE)
                assert re.search(rf"^ +{word}:", strings, re.MULTILINE), attributes[name]
    used = {name for text in SCRIPTS.values() for name in re.findall(r"WORDS((?:\.\w+)+)", text)}
    assert used
    for name in used:
        for part in name.strip(".").split("."):
            assert part in ("message", "at") or re.search(rf"\b{part}:", strings), name


def test_no_word_is_there_for_nothing() -> None:
    strings = SCRIPTS["/page/strings.js"]
    keys = re.findall(r"^    (\w+):", strings[strings.index("export const WORDS") :], re.MULTILINE)
    others = HTML + "".join(text for path, text in SCRIPTS.items() if path != "/page/strings.js")
    assert len(keys) > 60
    looked_up = ["up", "down"] if "WORDS.list[way]" in others else []
    assert [key for key in keys if not re.search(rf"\.{key}\b", others)] == looked_up


def test_every_id_that_scripts_look_for_is_in_the_page() -> None:
    ids = [a["id"] for _, a in Page(HTML).tags if "id" in a]
    assert len(ids) == len(set(ids))
    asked = {name for text in SCRIPTS.values() for name in re.findall(r'byId\("([\w-]+)"\)', text)}
    assert asked <= set(ids)
    referred = {
        one
        for _, a in Page(HTML).tags
        for n in ("for", "aria-labelledby", "aria-describedby", "aria-controls")
        for one in (a.get(n) or "").split()
    }
    assert referred <= set(ids)


@pytest.mark.parametrize("path", list(page_files()))
def test_each_is_served_with_its_type_and_policy(service: Api, path: str) -> None:
    with urlopen(service.url + path[1:], timeout=30) as answer:
        assert answer.read() == page_files()[path].body
        assert answer.headers["Content-Type"] == page_files()[path].content_type
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
