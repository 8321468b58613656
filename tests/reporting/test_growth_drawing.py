"""Laws of drawings on logarithmic axes: powers are straight, all lies inside, colours can be told from the ground."""

import math
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

import grela.reporting
from grela.errors import RequestError
from grela.reporting.growth import SERIES, Line, Panel, Point, drawing

SVG = "{http://www.w3.org/2000/svg}"
STYLE = (Path(grela.reporting.__file__).parent / "templates" / "drawing.css").read_text(encoding="utf-8")
LENGTHS = [2**n for n in range(7, 17)]


def power(name: str, exponent: float, lengths=LENGTHS) -> Line:
    return Line(name, [Point(n, v := n**exponent, 0.9 * v, 1.2 * v) for n in lengths])


def panel(*lines: Line, title: str = "CPU") -> Panel:
    return Panel(title, "time, µs", "positions", lines)


def places(drawn: str, series: int) -> list[tuple[float, float]]:
    (points,) = re.findall(rf'points="([^"]*)" class="curve s{series}"', drawn)
    return [(float(x), float(y)) for x, y in (corner.split(",") for corner in points.split())]


def test_a_power_law_is_a_straight_line_and_twice_the_power_is_twice_as_steep():
    drawn = drawing([panel(power("a", 1), power("b", 2))], title="t")
    slopes = []
    for series in (1, 2):
        found = places(drawn, series)
        assert len(found) == len(LENGTHS)
        steps = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairwise(found)]
        assert steps == pytest.approx([steps[0]] * len(steps), abs=0.02)
        slopes.append(steps[0])
    assert slopes[0] < 0  # upward on a screen
    assert slopes[1] / slopes[0] == pytest.approx(2, rel=0.03)


def test_a_name_looks_alike_in_all_panels_and_is_in_the_legend_once():
    drawn = drawing([panel(power("a", 1), power("b", 2)), panel(power("b", 1))], title="t")
    texts = [text.text for text in ElementTree.fromstring(drawn).iter(f"{SVG}text")]
    assert texts.count("b") == 1
    assert drawn.count('class="curve s2"') == 3  # the sign and a line in each panel
    assert drawn.count("<polyline") == 3


@pytest.mark.parametrize("panels", [1, 2, 5])
def test_nothing_lies_outside(panels):
    lines = [power(f"model number {j}", j / 2 - 1) for j in range(SERIES)]
    drawn = drawing([panel(*lines)] * panels, title="t", notes=["left out: " + "x" * 400])
    root = ElementTree.fromstring(drawn)
    width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
    for group in root.iter(f"{SVG}g"):
        dx, dy = (float(v) for v in re.findall(r"[-\d.]+", group.attrib["transform"]))
        for node in group:
            for name, shift, most in (("x", dx, width), ("y", dy, height)):
                found = [float(v) for k, v in node.attrib.items() if re.fullmatch(rf"c?{name}[12]?", k)]
                assert all(0 <= shift + v <= most for v in found), (node.tag, node.attrib)
    for text in root.iter(f"{SVG}text"):
        assert 7.4 * len(text.text or "") <= width


def test_what_shows_nothing_is_left_out_and_nothing_at_all_is_an_error():
    drawn = drawing([panel(Line("a", []), title="empty"), panel(power("a", 1), title="full")], title="t")
    assert "full" in drawn
    assert "empty" not in drawn
    with pytest.raises(RequestError, match="got 0 panels"):
        drawing([panel(Line("a", []))], title="t")
    with pytest.raises(RequestError, match=f"up to {SERIES}"):
        drawing([panel(*(power(str(j), 1) for j in range(SERIES + 1)))], title="t")


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_number_that_has_no_place_is_refused(bad):
    with pytest.raises(RequestError, match="positive numbers only"):
        drawing([panel(Line("a", [Point(8, 1.0, bad, 1.0)]))], title="t")


def test_a_single_point_and_a_value_that_never_changes_are_drawn():
    drawn = drawing(
        [panel(Line("a", [Point(8, 1.0, 1.0, 1.0)]), Line("b", [Point(8, 1.0, 1.0, 1.0)]))], title="t"
    )
    assert "<polyline" not in drawn
    assert "nan" not in drawn
    flat = places(drawing([panel(power("a", 0))], title="t"), 1)
    assert len({y for _, y in flat}) == 1


@pytest.mark.parametrize(("count", "named"), [(1, 1), (2, 2), (6, 6), (7, 7), (8, 4), (10, 4), (12, 6)])
def test_as_many_lengths_are_named_as_have_room(count, named):
    drawn = drawing([panel(power("a", 1, lengths=[2**n for n in range(7, 7 + count)]))], title="t")
    assert drawn.count('text-anchor="middle"') == named + 1  # and what they count


def test_texts_are_escaped():
    drawn = drawing([panel(power("<b>&", 1), title="<script>")], title='"<')
    assert "<script>" not in drawn
    assert "&lt;b&gt;&amp;" in drawn
    ElementTree.fromstring(drawn)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_the_ground(scheme):
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    assert all(contrast(colours[text], colours["bg"]) >= 4.5 for text in ("fg", "quiet"))
    assert all(contrast(colours[f"s{j + 1}"], colours["bg"]) >= 3 for j in range(SERIES))


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[j : j + 2], 16) / 255 for j in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
