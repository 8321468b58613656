"""The page in a real browser, where one is installed: nothing wider than the window, nothing refused."""

import json
import re
import shutil
import subprocess
from html import unescape
from itertools import combinations
from typing import Any

import pytest
from made_up_reports import REPORTS

from grela.reporting.report import render

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
WIDTHS = (390, 1280)
FRAMES = """<!doctype html><body style="margin:0">{frames}<pre id="answer"></pre><script>
const box = e => {{ const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }};
function measure(page) {{
  for (const details of page.querySelectorAll("details")) details.open = true;
  const {{scrollWidth, clientWidth}} = page.documentElement;
  const pictures = [...page.querySelectorAll("svg")].map(svg => ({{
    box: box(svg), texts: [...svg.querySelectorAll("text")].map(t => [t.textContent, ...box(t)])
  }}));
  return {{scrollWidth, clientWidth, pictures}};
}}
addEventListener("load", () => {{
  const frames = [...document.querySelectorAll("iframe")];
  document.getElementById("answer").textContent = JSON.stringify(frames.map(f => measure(f.contentDocument)));
}});</script>"""


@pytest.fixture(scope="module", params=list(REPORTS))
def layouts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """For each of `WIDTHS`: how wide the page is with all details open, and the boxes of its pictures and
    their texts, in pixels. Measured in frames, since a headless window has a least width of its own.
    """
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: layout is not checked")
    policy = r'<meta http-equiv="Content-Security-Policy"[^>]*>'
    relaxed, removed = re.subn(policy, "", render(REPORTS[request.param]()))
    assert removed == 1  # in this copy alone: under the policy no frame could be measured
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(relaxed, encoding="utf-8")
    frames = "".join(
        f'<iframe src="page.html" style="border:0;width:{w}px;height:900px"></iframe>' for w in WIDTHS
    )
    (folder / "frames.html").write_text(FRAMES.format(frames=frames), encoding="utf-8")
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, (folder / "frames.html").as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    answer = re.search(r'<pre id="answer">(.+?)</pre>', done.stdout, re.DOTALL)
    assert answer is not None, done.stderr
    return dict(zip(WIDTHS, json.loads(unescape(answer[1])), strict=True))


def test_page_is_never_wider_than_the_window(layouts: dict[int, Any]) -> None:
    for width, measured in layouts.items():
        assert measured["scrollWidth"] <= measured["clientWidth"] <= width
        assert measured["clientWidth"] > width - 30


@pytest.mark.parametrize("layouts", ["full", "smallest", "long"], indirect=True)
def test_texts_of_a_chart_are_neither_cut_off_nor_overlapping(layouts: dict[int, Any]) -> None:
    pictures = [picture for measured in layouts.values() for picture in measured["pictures"]]
    assert len(pictures) == 5 * len(WIDTHS)
    for picture in pictures:
        left, top, right, bottom = picture["box"]
        for words, x1, y1, x2, y2 in picture["texts"]:
            inside = left - 1 <= x1 <= x2 <= right + 1 and top - 1 <= y1 <= y2 <= bottom + 1
            assert inside, f"{words!r} is cut off"
        for (one, *a), (other, *b) in combinations(picture["texts"], 2):
            across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            # boxes hold the room for accents too, of which neighbouring lines may share a little
            assert across <= 0 or down <= 4, f"{one!r} overlaps {other!r}"
