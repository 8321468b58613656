"""The page in a real browser, where one is installed: nothing wider than the window, nothing refused."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from made_up_reports import full_report, long_report, smallest_report

from grela.reporting.report import ReportData, render

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
    "--window-size=1400,1000",
]
FRAME = """<!doctype html><body style="margin:0">
<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe><pre id="answer"></pre><script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument;
  for (const details of page.querySelectorAll("details")) details.open = true;
  const {{scrollWidth, clientWidth}} = page.documentElement;
  const pictures = [...page.querySelectorAll("svg")].map(svg => {{
    const box = e => {{ const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }};
    return {{box: box(svg), texts: [...svg.querySelectorAll("text")].map(t => [t.textContent, ...box(t)])}};
  }});
  document.getElementById("answer").textContent = JSON.stringify({{scrollWidth, clientWidth, pictures}});
}});</script>"""


def measure(report: ReportData, width: int, folder: Path) -> dict[str, Any]:
    """Lay the page out in a frame of `width` (a headless window has a least width of its own) with all
    details open; return its widths and the boxes of its pictures and their texts, in pixels.
    """
    relaxed, removed = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render(report))
    assert removed == 1  # in this copy alone: the policy would keep the frame from being measured
    (folder / "page.html").write_text(relaxed, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, (folder / "frame.html").as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    answer = re.search(r'<pre id="answer">(.+?)</pre>', done.stdout, re.DOTALL)
    assert answer is not None, done.stderr
    measured: dict[str, Any] = json.loads(unescape(answer[1]))
    return measured


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: layout is not checked")
@pytest.mark.parametrize("width", [390, 1280])
def test_page_is_never_wider_than_the_window(any_report: ReportData, tmp_path: Path, width: int) -> None:
    measured = measure(any_report, width, tmp_path)
    assert measured["scrollWidth"] <= measured["clientWidth"] <= width
    assert measured["clientWidth"] > width - 30


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: layout is not checked")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("make", [full_report, smallest_report, long_report])
def test_texts_of_a_chart_are_neither_cut_off_nor_overlapping(
    make: Callable[[], ReportData], tmp_path: Path, width: int
) -> None:
    pictures = measure(make(), width, tmp_path)["pictures"]
    assert len(pictures) == 5
    for picture in pictures:
        left, top, right, bottom = picture["box"]
        for words, x1, y1, x2, y2 in picture["texts"]:
            inside = left - 1 <= x1 <= x2 <= right + 1 and top - 1 <= y1 <= y2 <= bottom + 1
            assert inside, f"{words!r} is cut off"
        for (one, *a), (other, *b) in combinations(picture["texts"], 2):
            across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            # boxes hold the room for accents too, of which neighbouring lines may share a little
            assert across <= 0 or down <= 4, f"{one!r} overlaps {other!r}"
