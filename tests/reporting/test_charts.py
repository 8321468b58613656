"""Laws of the charts: what is drawn lies inside the picture and where the numbers say."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
from wcag import contrast

import grela.reporting
from grela.reporting import charts
from grela.reporting.report import Curve, LayerRank, LayerShare, LengthBucket
from grela.reporting.svg import WIDTH, Axis, element, round_axis, whole_axis

STYLE = (Path(grela.reporting.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "values",
    [[0.1, 0.23], [5.0], [0.0], [-3.0, 4.0], [1e-7, 2e-7], [1e30, 2.0], [math.nan], [7.0, 7.0 + 1e-12]],
)
def test_axis_holds_every_value_between_round_ticks(values: list[float]) -> None:
    axis = round_axis(values, start=10, end=90)
    assert 2 <= len(axis.ticks) <= 7
    assert len({axis.words(t) for t in axis.ticks}) == len(axis.ticks)
    for value in values:
        assert math.isnan(value) or 10 - 1e-6 <= axis(value) <= 90 + 1e-6


@pytest.mark.parametrize("last", [1, 2, 3, 4, 7, 10, 50, 123, 5000])
def test_epochs_have_whole_ticks_only(last: int) -> None:
    axis = whole_axis([1, last], start=0, end=100)
    assert all(tick == round(tick) for tick in axis.ticks)
    assert 2 <= len(axis.ticks) <= 7
    assert axis.low <= axis.ticks[0] < axis.ticks[-1] <= axis.high


def test_larger_values_are_drawn_higher() -> None:
    axis = Axis(0.0, 2.0, 100.0, 0.0, (0.0, 2.0))
    assert axis(0.5) == 75.0
    assert axis(2.0) == 0.0


def test_element_escapes_text_and_attributes() -> None:
    assert element("text", {"class": '"<'}, "<&") == '<text class="&#34;&lt;">&lt;&amp;</text>'


def test_nothing_lies_outside_its_picture(any_page: str) -> None:
    pictures = re.findall(r'<svg viewBox="0 0 (\S+) (\S+)"(.*?)</svg>', any_page, re.DOTALL)
    for width, height, inside in pictures:
        inside = re.sub(r"<g .*?</g>", "", inside)  # signs of the legend have an origin of their own
        places = {n: [float(v) for v in re.findall(rf' c?{n}[12]?="([^"]*)"', inside)] for n in ("x", "y")}
        corners = [c.split(",") for p in re.findall(r'points="([^"]*)"', inside) for c in p.split()]
        places["x"] += [float(x) for x, _ in corners]
        places["y"] += [float(y) for _, y in corners]
        assert min(places["x"], default=0) >= 0
        assert max(places["x"], default=0) <= float(width)
        assert min(places["y"], default=0) >= 0
        assert max(places["y"], default=0) <= float(height)


def test_curve_breaks_where_a_value_is_not_finite() -> None:
    drawn = charts.lines("k", "t", [Curve("loss", [1, 2, 3, 4, 5], [5, 4, math.nan, 3, 2])], y_label="loss")
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 4


def test_one_epoch_is_one_dot() -> None:
    drawn = charts.lines("k", "t", [Curve("loss", [1], [5.0])], y_label="loss", best=1)
    assert drawn.count("<circle") == 1
    assert "<polyline" not in drawn
    assert "best: epoch 1" in drawn


def test_bars_are_as_wide_as_the_shares() -> None:
    drawn = charts.stacked_shares("k", "t", [LayerShare(1, 0.25, 0.75, 1.0)])
    local, attention = [float(w) for w in re.findall(r'width="([^"]*)" height="22"', drawn)]
    assert attention / local == pytest.approx(3, rel=1e-2)


def test_whiskers_reach_from_low_to_high_and_the_dot_sits_at_the_value() -> None:
    drawn = charts.intervals("k", "t", [LengthBucket("1–9", 5, (0.2, 0.1, 0.3), (0.1, math.nan, 0.2))])
    whiskers = re.findall(r'x1="([^"]*)"[^>]*x2="([^"]*)"[^>]*class="whisker s\d"', drawn)
    dots = re.findall(r'cx="([^"]*)" cy="(?!0")', drawn)
    assert len(whiskers) == len(dots) == 1  # the estimate without an interval has no whisker
    low, high = map(float, whiskers[0])
    assert float(dots[0]) == pytest.approx((low + high) / 2, abs=0.2)


def test_bounds_are_drawn_where_all_heads_share_them() -> None:
    same = [LayerRank(1, h, 5.0, 50.0, 200, 16) for h in (1, 2)]
    assert "d = 16" in charts.paired_ranks("k", "t", same)
    assert "T = 200" in charts.paired_ranks("k", "t", same)
    mixed = charts.paired_ranks("k", "t", [*same, LayerRank(2, 1, 5.0, 50.0, 100, 16)])
    assert "d = 16" in mixed
    assert "T = " not in mixed


@pytest.mark.parametrize("most", [1, 6, 80, 200, 1000, 3000, 100_000])
def test_labels_of_the_rank_axis_keep_apart(most: int) -> None:
    drawn = charts.paired_ranks("k", "t", [LayerRank(1, 1, 1.0, float(most), most, 16)])
    ticks = re.findall(r'<text x="([^"]*)"[^>]*text-anchor="middle"[^>]*>([\d,]+)</text>', drawn)
    spans = sorted((float(x) - 3.6 * len(words), float(x) + 3.6 * len(words)) for x, words in ticks)
    assert spans[-1][1] <= WIDTH
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_meets_wcag_aa(scheme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[scheme]
    found = dict(re.findall(r"--([\w-]+): #([0-9a-f]{6})", block))
    colours = {name: bytes.fromhex(colour) for name, colour in found.items()}
    texts = [(t, ground) for t in ("fg", "quiet", "accent") for ground in ("bg", "panel")]
    for text, ground in [*texts, ("fg", "hit"), ("hit-fg", "hit"), ("fg", "low")]:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for series in ("s1", "s2", "s3", "s4"):
        assert contrast(colours[series], colours["bg"]) >= 3, series
