"""Laws of the page: one file, well formed, nothing from outside, nothing executed, nothing lost."""

import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

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

VOID = {"meta", "link", "img", "br", "hr", "input", "source", "base", "wbr", "col"}
MAY_LOAD = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background", "formaction"}
HEADINGS = {"h1", "h2", "h3", "h4"}


class Page(HTMLParser):
    """The page's tags with their attributes and its visible text; fails at the first tag out of balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute of <{tag}> occurs twice: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_is_well_formed(any_report: ReportData) -> None:
    html = render(any_report)
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("html") == [{"lang": "en"}]


def test_ids_are_unique_and_every_reference_resolves(any_report: ReportData) -> None:
    tags = Page(render(any_report)).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    wanted = {r for _, a in tags for r in (a.get("aria-labelledby") or "").split()}
    wanted |= {(a["href"] or "").removeprefix("#") for _, a in tags if "href" in a}
    assert len(ids) == len(set(ids))
    assert wanted
    assert wanted <= set(ids)


def test_nothing_is_loaded_and_nothing_runs(any_report: ReportData) -> None:
    html = render(any_report)
    page = Page(html)
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
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_policy_forbids_all_but_inline_style(full: ReportData) -> None:
    page = Page(render(full))
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


def test_no_number_is_shown_that_is_not_finite(any_report: ReportData) -> None:
    page = Page(render(any_report))
    drawn = " ".join(value or "" for _, attributes in page.tags for value in attributes.values())
    assert not re.search(r"\b(nan|inf|infinity)\b", page.text + drawn, re.IGNORECASE)


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


def test_every_heading_of_a_table_has_its_scope(any_report: ReportData) -> None:
    assert all(a.get("scope") in ("row", "col") for a in Page(render(any_report)).all("th"))


def test_headings_never_skip_a_level(any_report: ReportData) -> None:
    levels = [int(name[1]) for name, _ in Page(render(any_report)).tags if name in HEADINGS]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


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
