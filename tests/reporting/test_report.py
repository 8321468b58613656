"""Laws of the report: every number is there, claims go no further than the data, a file is written whole."""

import math
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from parsed_page import Page

from grela.errors import DataError, RunError
from grela.reporting.report import (
    Curve,
    ExampleUser,
    LayerShare,
    MetricRow,
    Recommended,
    ReportData,
    render,
    write_report,
)


def test_every_picture_has_a_name_and_its_numbers_in_words(full: ReportData) -> None:
    html = render(full)
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(pictures) == 5
    for picture in pictures:
        assert 'role="img"' in picture
        assert re.search(r"<title [^>]*>[^<]{10,}</title>", picture)
        assert re.search(r"<desc [^>]*>[^<]*\d[^<]*</desc>", picture)


def test_numbers_of_every_chart_stand_in_a_table(full: ReportData) -> None:
    html = render(full)
    cells = {re.sub(r"<.*", "", c).strip() for c in re.findall(r"<td>(.*?)</td>", html, re.DOTALL)}
    curves = [y for c in (*full.loss, *full.validation) for y in c.y]
    assert {f"{y:.4f}" for y in curves} <= cells
    assert {f"{v:.4f}" for b in full.by_length for v in (b.filtered[0], b.unfiltered[0])} <= cells
    assert {f"{100 * v:.1f} %" for s in full.shares for v in (s.local, s.attention)} <= cells
    assert {f"{v:.1f}" for r in full.ranks for v in (r.without_local, r.with_local)} <= cells
    assert {"200", "16"} <= cells


def test_empty_sections_say_that_they_are_empty(empty: ReportData) -> None:
    html = render(empty)
    page = Page(html)
    assert not page.all("svg")
    assert not page.all("table")
    assert html.count('class="empty"') == 11
    assert "No metric was measured" in page.text
    assert "No example user was chosen" in page.text


def test_headline_is_ndcg_then_hit_rate_with_interval_and_floor(full: ReportData) -> None:
    text = Page(render(full)).text
    head = text[: text.index("Every item of the catalogue")]
    ndcg, hits = head.index("0.2072 0.1989–0.2155"), head.index("0.3517 0.3398–0.3639")
    assert ndcg < hits
    assert "8.1 times the popularity floor 0.0257" in head
    assert "13.6 times the popularity floor 0.0211" in head


@pytest.mark.parametrize(
    ("estimate", "floor", "words"),
    [
        ((0.2, 0.15, 0.25), 0.16, "not clearly above the popularity floor 0.1600"),
        ((0.2, 0.15, 0.25), 0.21, "below the popularity floor 0.2100"),
        ((0.2, 0.15, 0.25), 0.1, "2.0 times the popularity floor 0.1000"),
        ((0.2, 0.15, 0.25), 0.0, "above the popularity floor 0.0000"),
        ((0.2, 0.15, 0.25), None, "popularity not measured"),
    ],
)
def test_floor_is_beaten_only_where_the_interval_says_so(
    full: ReportData, estimate: tuple[float, float, float], floor: float | None, words: str
) -> None:
    report = replace(full, metrics=[MetricRow("NDCG@10", estimate, estimate, floor, floor)])
    assert words in Page(render(report)).text


def test_history_shows_its_last_twelve_and_counts_the_rest(full: ReportData) -> None:
    html = render(replace(full, examples=full.examples[:1]))
    text = Page(html).text
    assert "… 176 earlier" in text
    assert '<ol start="177">' in html
    history = html[html.index("<ol start") : html.index("</ol>")]
    assert history.count("<li>") == 12
    assert history.rindex("Film number 29 (1959)") > history.rindex("Film number 28 (1958)")
    assert "Film number 17 (1947)" not in history


def test_hits_are_marked_in_words(full: ReportData) -> None:
    assert Page(render(full)).text.count("✓ hit") == 2


def test_bound_d_is_claimed_for_the_bidirectional_form_only(full: ReportData) -> None:
    causal, both = (Page(render(replace(full, causal=c))).text for c in (True, False))
    claim = "Without the local branch a head of width d cannot exceed d"
    assert claim in both
    assert claim not in causal
    assert "lifts that bound" in causal


def test_configuration_stands_in_full(full: ReportData) -> None:
    html = render(replace(full, config={"a": {"b": {"c": [1, 2.5, None]}, "d": {}}, "on": True}))
    rows = dict(re.findall(r"<dt>(.*?)</dt><dd><bdi>(.*?)</bdi>", html))
    assert {"a.b.c": "[1, 2.5, null]", "a.d": "{}", "on": "true"}.items() <= rows.items()


def test_a_long_curve_is_thinned_and_says_so(full: ReportData) -> None:
    steps = list(range(5000))
    report = replace(full, loss=[Curve("loss", steps, [1.0 / (1 + s) for s in steps])])
    html = render(report)
    assert "100 of 5,000 points, evenly chosen" in html
    assert len(html) < len(render(full)) + 20_000


def test_numpy_scalars_are_numbers_too(full: ReportData) -> None:
    values = np.array([3.5, 2.5], dtype=np.float32)
    report = replace(full, data=[("users", np.int64(6040))], loss=[Curve("loss", np.arange(2), values)])  # type: ignore[arg-type, list-item]
    html = render(report)
    assert "<bdi>6,040</bdi>" in html
    assert "3.5000" in html


def test_same_data_give_the_same_page(full: ReportData) -> None:
    assert render(full) == render(full)


def test_report_is_replaced_whole_and_leaves_nothing_beside_it(full: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(full, path)
    assert path.read_text(encoding="utf-8") == render(full)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_failed_write_leaves_the_old_report(
    full: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(RunError, match=r"report\.html: No space left on device; check that"):
        write_report(full, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_missing_folder_is_a_clear_error(full: ReportData, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file or directory; check that its folder exists"):
        write_report(full, tmp_path / "absent" / "report.html")


def test_nonsense_is_refused_where_it_is_made() -> None:
    with pytest.raises(DataError, match="curve 'loss' has 2 x and 1 y"):
        Curve("loss", [1, 2], [0.5])
    with pytest.raises(DataError, match="2 titles in a history of 1 events"):
        ExampleUser("u", ["a", "b"], 1, [], [Recommended("c", 1.0, False)], None)
    with pytest.raises(DataError, match=r"layer 3: the shares .* sum to 1\.1, expected 1"):
        LayerShare(3, 0.6, 0.5, 1.0)
    assert math.isnan(LayerShare(3, math.nan, math.nan, 1.0).local)


def test_titles_survive_the_round_trip(full: ReportData) -> None:
    title = "Léon & <Mathilda> “quoted” 'single' (1994)"
    user = replace(full.examples[0], truth=[title])
    html = render(replace(full, examples=[user]))
    assert title in {unescape(t) for t in re.findall(r"<li><bdi>(.*?)</bdi>", html)}
