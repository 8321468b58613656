"""Laws of a comparison's page: every number is that of comparison.json, and no claim goes further than the tests."""

import re
from collections.abc import Callable
from html import unescape
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_comparisons import Found, found, full, hostile, nothing, single
from made_up_reports import HOSTILE
from parsed_page import Page

from grela.errors import RunError
from grela.reporting.comparison import ComparisonData, mean_curve, render, write_comparison
from grela.reporting.comparison_build import comparison_data
from grela.reporting.comparison_words import cautions, standing

VIEWS = ("filtered", "unfiltered")
DASH = "—"


@pytest.fixture(scope="module")
def compared() -> Found:
    return full()


@pytest.fixture(scope="module")
def page(compared: Found) -> str:
    return render(comparison_data(compared))


@pytest.fixture
def small() -> Found:
    """Two trained models of two seeds and a floor, to be changed by a test."""
    return found(["recgrela", "sasrec", "popularity"], seeds=2, epochs=4)


def table(page: str, start: str) -> list[list[str]]:
    """The words of the cells of the first table after `start`, row by row."""
    body = page[page.index(start) :]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body[: body.index("</table>")], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[_words(cell) for cell in row] for row in cells]


def _words(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html))).strip()


def number(value: float) -> str:
    return f"{value:.4f}".replace("-", "−")


def test_ranking_holds_means_and_intervals_in_the_order_of_the_comparison(compared: Found, page: str) -> None:
    rows = table(page, 'class="ranking"')[1:]
    for place, (row, model) in enumerate(zip(rows, compared["models"], strict=True), 1):
        assert row[0] == f"{place} {model['model']}"
        assert row[1] == str(len(model["seeds"]))
        figures = [model[view][metric] for metric in ("ndcg@10", "hr@10") for view in VIEWS]
        assert row[2:] == [f"{number(f['mean'])} {'–'.join(map(number, f['interval']))}" for f in figures]


def test_every_seed_is_listed(compared: Found, page: str) -> None:
    rows = table(page, 'aria-label="Each seed"')[1:]
    expected = [
        [str(seed), *(number(model[v][m]["by_seed"][j]) for m in ("ndcg@10", "hr@10") for v in VIEWS)]
        for model in compared["models"]
        for j, seed in enumerate(model["seeds"])
    ]
    assert [row[1:] for row in rows] == expected


def test_costs_are_those_of_the_comparison(small: Found) -> None:
    model = small["models"][0]
    model |= {"training_seconds": 7_384.2, "peak_bytes": 1_234_567_890.0, "latency_ms": 0.012345}
    model |= {"parameters": 253_565.0, "valid": 0.54321, "epochs": [4, 3]}
    runs = [run for run in small["runs"] if run["model"] == model["model"]]
    for run, best in zip(runs, (2, 3), strict=True):
        run |= {"best_epoch": best, "selected_by": "unfiltered/ndcg@10"}
    row = table(render(comparison_data(small)), 'class="costs"')[1]
    assert row[1:3] == ["2 h 3 min", "3–4 best 2–3"]
    assert row[4:8] == ["1,235 MB", "0.0123 ms", "253,565", "0.5432 not filtered"]
    assert row[8] == model["source"]


def test_events_per_second_are_all_events_by_all_seconds(small: Found) -> None:
    epochs = [e for run in small["runs"] if run["model"] == "sasrec" for e in run["epochs"]]
    for j, epoch in enumerate(epochs):
        epoch |= {"seconds": 1.0 + j, "events_per_second": 100.0 * (1 + j)}
    (model,) = (m for m in comparison_data(small).models if m.name == "sasrec")
    events = sum((1.0 + j) * 100 * (1 + j) for j in range(len(epochs)))
    assert model.events_per_second == pytest.approx(events / sum(1.0 + j for j in range(len(epochs))))


def test_a_floor_is_fitted_at_once_and_has_no_epochs(page: str) -> None:
    rows = {row[0].split(" ", 1)[1]: row for row in table(page, 'class="costs"')[1:]}
    assert rows["popularity"][1:4] == ["0.003 s at once", DASH, DASH]
    assert rows["popularity"][6] == DASH
    assert "at once" not in rows["sasrec"][1]


def test_groups_by_length_are_means_over_the_seeds(compared: Found, page: str) -> None:
    for view, words in zip(VIEWS, ("seen items filtered", "not filtered"), strict=True):
        rows = table(page, f'aria-label="NDCG@10 by length of history, {words}"')
        assert rows[0][1:] == ["1–20", "21–50", "51–100", "101–200", "201–500", "501+"]
        assert rows[1][1:] == ["50"] * 6
        for row, model in zip(rows[2:], compared["models"], strict=True):
            runs = [run for run in compared["runs"] if run["model"] == model["model"]]
            values = [[g[view]["ndcg@10"] for g in run["by_history_length"]] for run in runs]
            assert [cell.split()[0] for cell in row[1:]] == [number(v) for v in np.mean(values, 0)]
            # an interval of one seed is not the mean's
            assert all((len(cell.split()) == 2) == (len(runs) == 1) for cell in row[1:])


def test_courses_are_means_over_seeds_while_all_go_on(small: Found) -> None:
    runs = [run for run in small["runs"] if run["model"] == "sasrec"]
    runs[1]["epochs"] = runs[1]["epochs"][:3]
    (model,) = (m for m in comparison_data(small).models if m.name == "sasrec")
    for view in VIEWS:
        values = [[e["metrics"][f"{view}/ndcg@10"] for e in run["epochs"][:3]] for run in runs]
        assert list(mean_curve(model, view).y) == pytest.approx(np.mean(values, 0))
    seconds = np.mean([np.cumsum([e["seconds"] for e in run["epochs"][:3]]) for run in runs], 0)
    assert list(mean_curve(model, None).y) == pytest.approx(seconds)
    assert list(mean_curve(model, None).x) == [1, 2, 3]


def test_no_decimal_is_shown_that_the_comparison_does_not_hold(compared: Found, page: str) -> None:
    held = {number(v) for value in _numbers(compared) for v in (value, -value)}
    for model in comparison_data(compared).models:  # means of what it holds: tested above
        held |= {number(g.scores[view].estimate[0]) for g in model.by_length for view in VIEWS}
        if model.trained:
            held |= {number(y) for view in (*VIEWS, None) for y in mean_curve(model, view).y}
    shown = set(re.findall(r"(?<![\d.,])[−]?\d+\.\d{4}(?!\d)", Page(page).text))
    assert len(shown) > 300
    assert shown <= held | {"0.0000"}


def _numbers(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        return [v for value in tree.values() for v in _numbers(value)]
    if isinstance(tree, list):
        return [v for value in tree for v in _numbers(value)]
    return [float(tree)] if isinstance(tree, int | float) else []


def test_matrix_shows_each_pair_both_ways(compared: Found, page: str) -> None:
    names = [model["model"] for model in compared["models"]]
    for view in VIEWS:
        cells = [row[1:] for row in table(page, f'aria-labelledby="matrix-{view}"')[1:]]
        pairs = {(p["a"], p["b"]): p for p in compared["pairs"][view]}
        for (i, a), (j, b) in combinations(enumerate(names), 2):
            pair = pairs[(a, b)]
            for cell, difference in ((cells[i][j], pair["difference"]), (cells[j][i], -pair["difference"])):
                arrow = ("▲ " if difference > 0 else "▼ ") if pair["p_holm"] < 0.05 else ""
                signed = ("+" if difference > 0 else "") + number(difference)
                signed = re.sub("[+−]0.0000", "0.0000", signed)
                assert cell == f"{signed} {arrow}{number(pair['p_holm'])}"


@pytest.mark.parametrize(("p_holm", "shown"), [(0.0499, True), (0.05, False), (1.0, False)])
def test_a_difference_is_shown_where_holms_p_is_below_the_level(
    small: Found, p_holm: float, shown: bool
) -> None:
    for view in VIEWS:
        for pair in small["pairs"][view]:
            pair |= {"p_value": 0.0001, "p_holm": p_holm}
    data = comparison_data(small)
    html = render(data)
    verdicts = [row[-1] for row in table(html, 'aria-label="All pairs, not filtered"')[1:]]
    assert verdicts == ["shown" if shown else "no difference shown"] * 3
    assert ('<td class="higher">' in html) == ('<td class="lower">' in html) == shown
    assert ('<td class="unshown">' in html) != shown
    best = standing(data, "unfiltered")
    assert best is not None
    assert best.words == (
        "Shown to be above all 2 others." if shown else "No difference shown from sasrec and popularity."
    )


def test_the_best_and_all_that_are_level_with_it_are_marked(small: Found) -> None:
    for pair in small["pairs"]["unfiltered"]:
        pair["p_holm"] = 0.2 if {pair["a"], pair["b"]} == {"recgrela", "sasrec"} else 0.001
    data = comparison_data(small)
    html = render(data)
    best = standing(data, "unfiltered")
    assert best is not None
    assert best.words == "Shown to be above 1 of 2 others. No difference shown from sasrec."
    ranking = html[html.index('class="ranking"') :]
    rows = re.findall(r"<tr>(.*?)</tr>", ranking[: ranking.index("</table>")], re.DOTALL)[1:]
    marked = [re.findall(r"<td( class=\"leads\")?>", row)[2] != "" for row in rows]
    assert marked == [True, True, False]


def test_the_best_of_a_view_is_the_best_in_that_view(small: Found) -> None:
    for model, value in zip(small["models"], (0.1, 0.3, 0.2), strict=True):
        model["filtered"]["ndcg@10"]["mean"] = value
    data = comparison_data(small)
    names = [model["model"] for model in small["models"]]
    assert [getattr(standing(data, view), "best").name for view in VIEWS] == [names[1], names[0]]  # noqa: B009


def _one_seed(small: Found) -> None:
    small.update(found(["recgrela", "sasrec", "popularity"], seeds=1, epochs=4))


def _unequal_seeds(small: Found) -> None:
    row = next(m for m in small["models"] if m["model"] == "sasrec")
    row["seeds"], row["epochs"] = [0], [4]
    small["runs"] = [r for r in small["runs"] if (r["model"], r["seed"]) != ("sasrec", 1)]


def _last_epoch(small: Found) -> None:
    for run in small["runs"]:
        run["best_epoch"] = 4 if (run["model"], run["seed"]) == ("sasrec", 1) else 2


def _two_machines(small: Found) -> None:
    for run in small["runs"]:
        run["environment"] = {"system": "Linux", "threads": str(1 + run["seed"])}


CAUTIONS: list[tuple[Callable[[Found], None], str]] = [
    (lambda small: None, "The machine was not recorded"),
    (lambda small: None, "It does not mean that they are equal"),
    (lambda small: None, "No setting was tuned on these data"),
    (lambda small: None, "not of other seeds, whose values are drawn faintly"),
    (lambda small: None, "compare them within a view only"),
    (_one_seed, "There is one seed of every trained model"),
    (_unequal_seeds, "There is one seed of sasrec"),
    (_unequal_seeds, "Not all have the 2 seeds of the others: sasrec (1)."),
    (_last_epoch, "The budget may have ended too early for sasrec:"),
    (_two_machines, "The runs were made on 2 machines or versions that differ"),
    (lambda small: small["models"][0].update(peak_bytes=None), "Peak memory of some runs is not known"),
    (lambda small: small["failed"].update({"sasrec, seed 2": "why"}), "1 run failed and is in no figure."),
]


@pytest.mark.parametrize(("change", "words"), CAUTIONS)
def test_what_cannot_be_told_is_said(small: Found, change: Callable[[Found], None], words: str) -> None:
    change(small)
    data = comparison_data(small)
    assert words in " ".join(cautions(data))
    assert words in Page(render(data)).text


def test_cautions_that_do_not_apply_are_not_said(small: Found) -> None:
    small["budget"]["trials"] = 5
    for run in small["runs"]:
        run |= {"best_epoch": 2, "selected_by": "filtered/ndcg@10", "environment": {"system": "Linux"}}
    assert len(cautions(comparison_data(small))) == 3  # of differences, of other data, of seeds


def test_failed_runs_are_named_at_the_top_with_the_reason_below(page: str, compared: Found) -> None:
    text = Page(page).text
    assert "1 run failed" in text[: text.index("Accuracy on the test events")]
    ((run, why),) = compared["failed"].items()
    failed = text[text.index("The same command tries them again") : text.index("Data and protocol")]
    assert run in failed
    assert why in failed


def test_one_model_has_nothing_to_be_compared_with() -> None:
    html = render(comparison_data(single()))
    text = Page(html).text
    assert "There are no two models to compare." in text
    assert "No other model to compare with." in text
    assert "No run failed." in text
    assert 'class="matrix"' not in html
    assert "Each seed" not in text


def test_a_comparison_of_nothing_says_so() -> None:
    html = render(comparison_data(nothing()))
    page = Page(html)
    assert not page.all("svg")
    assert not page.all("table")
    assert "No model was measured." in page.text
    assert "it was killed by signal 9" in page.text


def test_memory_that_is_not_known_is_a_dash_and_no_chart(small: Found) -> None:
    for model in small["models"]:
        model["peak_bytes"] = None
    html = render(comparison_data(small))
    assert [row[4] for row in table(html, 'class="costs"')[1:]] == [DASH] * 3
    assert html.count("The memory of no run is known.") == 2
    assert "memory-filtered-title" not in html


def test_protocol_names_what_makes_figures_comparable(compared: Found, page: str) -> None:
    facts = {_words(a): _words(b) for a, b in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page, re.DOTALL)}
    run = compared["runs"][0]
    assert facts["fingerprint of the split"] == compared["fingerprint"]
    assert facts["budget"] == "12 epochs each"
    assert (facts["ties"], facts["ranking"], facts["intervals"]) == (
        run["tie_rule"],
        run["protocol"],
        run["interval"],
    )
    assert facts["epoch kept by validation NDCG@10, not filtered"] == "recgrela"
    assert "sasrec" in facts["epoch kept by validation NDCG@10, seen items filtered"]
    assert facts["test items already seen by their user: misses when filtered"] == "17"
    assert "Holm" in facts["differences"]


def test_times_of_a_temporal_split_and_a_budget_of_seconds_are_named(small: Found) -> None:
    small["config"]["split"] = {"kind": "temporal", "valid_from": 10, "test_from": "2001-02-03"}
    small["budget"] = {"epochs": None, "seconds": 1200.0, "trials": 0}
    text = Page(render(comparison_data(small))).text
    assert "about 20 min of training each" in text
    assert "valid from 10" in text
    assert "test from 2001-02-03" in text


def test_settings_that_differ_between_seeds_stand_side_by_side(small: Found) -> None:
    (model,) = (m for m in comparison_data(small).models if m.name == "sasrec")
    assert dict(model.settings)["training.seed"] == "0, 1"
    assert dict(model.settings)["model.width"] == "64"


def test_machine_is_shown_once(small: Found) -> None:
    for run in small["runs"]:
        run["environment"] = {"torch": "9.9.9"}
    assert render(comparison_data(small)).count("9.9.9") == 1


def test_hostile_texts_are_shown_and_not_obeyed() -> None:
    html = render(comparison_data(hostile()))
    page = Page(html)
    assert {name for name, _ in page.tags}.isdisjoint({"script", "img", "iframe"})
    for shown in ("<script>alert(1)</script>", "&lt;already&amp;escaped", "{{ 7 * 7 }}", "שלום עולם"):
        assert shown in page.text
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", html)


def test_texts_of_the_other_direction_turn_nothing_around_them() -> None:
    html = render(comparison_data(hostile()))
    assert html.count("\u202e") > 20
    for match in re.finditer("\u202e", html):
        before = html[: match.start()]
        # isolated in a line, or alone in its block
        opened = max(before.rfind(mark) for mark in ("<bdi>", "\u2068", "<title", "<dt>", "<th"))
        closed = max(before.rfind(mark) for mark in ("</bdi>", "\u2069", "</title", "</dt>", "</th"))
        assert opened > closed, html[match.start() - 60 : match.start() + 20]


def test_whatever_scrolls_can_be_reached_by_the_keyboard_and_has_a_name(page: str) -> None:
    scrolled = [a for a in Page(page).all("div") if a.get("class") == "scroll"]
    assert len(scrolled) > 5
    for attributes in scrolled:
        assert attributes["tabindex"] == "0"
        assert attributes["role"] == "region"
        assert attributes.get("aria-label") or attributes.get("aria-labelledby")


def test_every_picture_has_a_name_and_its_numbers_in_words(page: str, compared: Found) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 11
    names = [model["model"] for model in compared["models"]]
    for picture in pictures:
        assert 'role="img"' in picture
        assert re.search(r"<title [^>]*>[^<]{10,}</title>", picture)
        (words,) = re.findall(r"<desc [^>]*>([^<]*)</desc>", picture)
        assert sum(f"{name}: " in words for name in names) >= 9


def test_page_is_replaced_whole_and_leaves_nothing_beside_it(small: Found, tmp_path: Path) -> None:
    path, data = tmp_path / "comparison.html", comparison_data(small)
    path.write_text("old")
    write_comparison(data, path)
    assert path.read_text(encoding="utf-8") == render(data)
    assert [p.name for p in tmp_path.iterdir()] == ["comparison.html"]
    with pytest.raises(RunError, match="check that its folder exists"):
        write_comparison(data, tmp_path / "absent" / "comparison.html")


def test_same_comparison_gives_the_same_page(small: Found) -> None:
    assert isinstance(comparison_data(small), ComparisonData)
    assert render(comparison_data(small)) == render(comparison_data(small))


def test_hostile_names_are_all_there() -> None:
    text = Page(render(comparison_data(hostile()))).text
    assert all(run[:20].strip() in text for run in HOSTILE if run.isascii() and run.isprintable())
