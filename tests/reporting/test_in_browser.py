"""The pages in a real browser, where one is installed: nothing wider than the window, nothing refused or illegible."""

import json
import re
import shutil
import subprocess
from html import unescape
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from made_up_pages import PAGES, made_up_page
from wcag import contrast

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--virtual-time-budget=5000",
    "--window-size=1800,1000",
]
DARK = "--blink-settings=preferredColorScheme=0"
WIDTHS = (390, 1280)
PICTURES = {"report": 5, "comparison": 11, "comparison floors": 7}
WITHOUT = ("report empty", "report hostile", "comparison nothing", "comparison hostile")
FRAMES = """<!doctype html><meta charset="utf-8"><body style="margin:0">{frames}<pre id="answer"></pre><script>
const box = e => {{ const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }};
function ground(element, view) {{
  for (let e = element; e; e = e.parentElement) {{
    const colour = view.getComputedStyle(e).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }}
  return "none";
}}
function colours(page) {{
  const view = page.defaultView, found = new Set();
  for (const e of page.body.querySelectorAll("*")) {{
    const shown = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    if (!shown || ["title", "desc"].includes(e.tagName)) continue;
    const style = view.getComputedStyle(e);
    found.add(JSON.stringify([e.tagName === "text" ? style.fill : style.color, ground(e, view)]));
  }}
  return [...found].map(JSON.parse);
}}
function measure(page) {{
  for (const details of page.querySelectorAll("details")) details.open = true;
  const {{scrollWidth, clientWidth}} = page.documentElement;
  const pictures = [...page.querySelectorAll("svg")].map(svg => ({{
    box: box(svg), texts: [...svg.querySelectorAll("text")].map(t => [t.textContent, ...box(t)])
  }}));
  return {{scrollWidth, clientWidth, pictures, colours: colours(page)}};
}}
addEventListener("load", () => {{
  const frames = [...document.querySelectorAll("iframe")];
  document.getElementById("answer").textContent = JSON.stringify(frames.map(f => measure(f.contentDocument)));
}});</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all pages, and one that shows each of them in a frame of each of `WIDTHS`: a headless window has a
    least width of its own.
    """
    folder = tmp_path_factory.mktemp("pages")
    policy = r'<meta http-equiv="Content-Security-Policy"[^>]*>'
    for j, page in enumerate(PAGES):
        relaxed, removed = re.subn(policy, "", made_up_page(page))
        assert removed == 1  # in these copies alone: under the policy no frame could be measured
        (folder / f"page{j}.html").write_text(relaxed, encoding="utf-8")
    frames = "".join(
        f'<iframe src="page{j}.html" style="border:0;width:{width}px;height:900px"></iframe>'
        for j in range(len(PAGES))
        for width in WIDTHS
    )
    (folder / "frames.html").write_text(FRAMES.format(frames=frames), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["light", "dark"])
def layouts(request: pytest.FixtureRequest, pages: Path) -> dict[str, dict[int, Any]]:
    """By page and width, with all details open: how wide the page is, the boxes of its pictures and their texts in
    pixels, and the colours of all its texts with what is behind them.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: layout is not checked")
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={pages / request.param}", "--dump-dom"]
    done = subprocess.run(
        [*command, *([DARK] if request.param == "dark" else []), (pages / "frames.html").as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        check=True,
    )
    answer = re.search(r'<pre id="answer">(.+?)</pre>', done.stdout, re.DOTALL)
    assert answer is not None, done.stderr
    measured = iter(json.loads(unescape(answer[1])))
    found = {page: {width: next(measured) for width in WIDTHS} for page in PAGES}
    ground = found[PAGES[0]][390]["colours"][0][1]
    assert (ground == "rgb(255, 255, 255)") == (request.param == "light")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_page_is_never_wider_than_the_window(layouts: dict[str, dict[int, Any]], page: str) -> None:
    for width, measured in layouts[page].items():
        assert measured["scrollWidth"] <= measured["clientWidth"] <= width
        assert measured["clientWidth"] > width - 30


@pytest.mark.parametrize("page", [page for page in PAGES if page not in WITHOUT])
def test_texts_of_a_chart_are_neither_cut_off_nor_overlapping(
    layouts: dict[str, dict[int, Any]], page: str
) -> None:
    pictures = [picture for measured in layouts[page].values() for picture in measured["pictures"]]
    assert len(pictures) == len(WIDTHS) * PICTURES.get(page, PICTURES[page.split()[0]])
    for picture in pictures:
        left, top, right, bottom = picture["box"]
        for words, x1, y1, x2, y2 in picture["texts"]:
            inside = left - 1 <= x1 <= x2 <= right + 1 and top - 1 <= y1 <= y2 <= bottom + 1
            assert inside, f"{words!r} is cut off"
        for (one, *a), (other, *b) in combinations(picture["texts"], 2):
            across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            # boxes hold the room for accents too, of which neighbouring lines may share a little
            assert across <= 0 or down <= 4, f"{one!r} overlaps {other!r}"


@pytest.mark.parametrize("page", PAGES)
def test_every_text_is_legible(layouts: dict[str, dict[int, Any]], page: str) -> None:
    for measured in layouts[page].values():
        assert len(measured["colours"]) > 1
        for text, ground in measured["colours"]:
            colours = [[int(part) for part in re.findall(r"\d+", colour)] for colour in (text, ground)]
            assert all(len(colour) == 3 for colour in colours), (text, ground)  # opaque
            assert contrast(*colours) >= 4.5, (text, ground)
