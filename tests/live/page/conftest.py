"""A real service in a process of its own, and a real browser, where one is installed, to look at its page."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from made_up_shop import HOSTILE, TITLES, log

from grela import Recommender
from grela.configuration import config_from

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SETTINGS = {
    "model": {"width": 16, "heads": 2, "layers": 3},
    "training": {"epochs": 2, "batch_positions": 512, "window": 32, "warmup_steps": 4, "precision": "fp32"},
}
COUNT_ANIMATIONS = """
window.animations = 0;
const animate = Element.prototype.animate;
Element.prototype.animate = function (...given) { window.animations += 1; return animate.apply(this, given); };
"""


@dataclass(frozen=True)
class Api:
    """The service at `url`, asked without a browser."""

    url: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def refused(self, path: str) -> tuple[int, str]:
        """The status and the words of a GET that is refused."""
        try:
            self.ask("GET", path)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)["error"]
        raise AssertionError(f"{path} is answered")

    def add(self, user: str, *items: int, times: list[str] | None = None) -> None:
        given = times or [None] * len(items)
        events = [{"user": user, "item": item, "time": time} for item, time in zip(items, given, strict=True)]
        self.ask("POST", "events", {"events": events})

    def history(self, user: str) -> list[dict[str, Any]]:
        return self.ask("GET", f"users/{user}/history")["events"]


@pytest.fixture(scope="session")
def shop_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the made-up shop, some of its titles hostile."""
    run = tmp_path_factory.mktemp("shop") / "run"
    Recommender.fit(log(users=60, length=40), config=config_from(SETTINGS), titles=TITLES | HOSTILE, out=run)
    return run


def serving(run: Path, folder: Path, **environment: str) -> Iterator[Api]:
    """`grela serve` on any free port, until the test is through; it must end well."""
    command = [sys.executable, "-m", "grela", "serve", run, "--port", "0", "--store", folder / "events.sqlite"]
    environ = os.environ | {"PYTHONUNBUFFERED": "1"} | environment
    with (folder / "stderr.txt").open("w") as said, subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=said, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("serving http://"), (folder / "stderr.txt").read_text()
        yield Api(first.split()[1] + "/")
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="session")
def service(shop_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    yield from serving(shop_run, tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not looked at")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: see the extra dev")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


Open = Callable[..., "Page"]


@pytest.fixture
def look(browser: "Browser", service: Api) -> Iterator[Open]:
    """look(user, wrong=(), width=1280, url=..., ...) opens the page, of a user or of nobody.

    At the end, nothing may have been said on the consoles but what begins with one of `wrong`, and no other host asked.
    """
    contexts = []
    checks: list[Callable[[], None]] = []

    def opened(
        user: str | None = None, *, wrong: tuple[str, ...] = (), width: int = 1280, url: str = "", **options: Any
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
