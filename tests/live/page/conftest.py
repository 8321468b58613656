"""A real service in a process of its own, and a real browser, where one is installed, to look at its page."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_up_shop import HOSTILE, TITLES, log
from page_service import SETTINGS, Api, serving

from grela import Recommender
from grela.configuration import config_from

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COUNT_ANIMATIONS = """
window.animations = 0;
const animate = Element.prototype.animate;
Element.prototype.animate = function (...given) { window.animations += 1; return animate.apply(this, given); };
"""


@pytest.fixture(scope="session")
def shop_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the made-up shop, some of its titles hostile."""
    run = tmp_path_factory.mktemp("shop") / "run"
    Recommender.fit(log(users=60, length=40), config=config_from(SETTINGS), titles=TITLES | HOSTILE, out=run)
    return run


@pytest.fixture(scope="session")
def service(shop_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    yield from serving(shop_run, tmp_path_factory.mktemp("service"))


# Of a module: while it is open an event loop counts as running, in which no other test could start its own.
@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not looked at")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: see the extra dev"
    )
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def look(browser: "Browser", service: Api) -> Iterator[Callable[..., "Page"]]:
    """look(user, wrong=(), width=1280, url=..., ...) opens the page, of a user or of nobody.

    At the end, nothing may have been said on the consoles but what begins with one of `wrong`, and no other host asked.
    """
    contexts = []
    checks: list[Callable[[], None]] = []

    def opened(
        user: str | None = None,
        *,
        wrong: tuple[str, ...] = (),
        width: int = 1280,
        url: str = "",
        **options: Any,
    ) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        context.add_init_script(COUNT_ANIMATIONS)
        context.set_default_timeout(20_000)
        page = context.new_page()
        base, said, asked = url or service.url, [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))

        def check() -> None:
            assert [text for text in said if not text.startswith(wrong or ("\0",))] == []
            assert [address for address in asked if not address.startswith(base)] == []

        checks.append(check)
        page.goto(base + ("" if user is None else f"#user={user}"))
        if user is not None:
            page.wait_for_selector("#list li")
            page.wait_for_selector("#history :is(ol, p)")
        return page

    yield opened
    for context in contexts:
        context.close()
    for check in checks:
        check()
