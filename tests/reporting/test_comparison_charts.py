"""Laws of a comparison's charts: marks lie where the numbers say, names are beside their marks and on no other."""

import math
import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from made_up_comparisons import Found, found

from grela.reporting import comparison_charts as charts
from grela.reporting.comparison import ComparedModel
from grela.reporting.comparison_build import comparison_data
from grela.reporting.label_places import HEIGHT, MARGIN, RADIUS, Box, label_places, nearest_point
from grela.reporting.scales import Places, log_axis
from grela.reporting.small_multiples import courses_by_epoch, courses_by_seconds, groups_by_length
from grela.reporting.svg import CHARACTER
from grela.reporting.text import VIEWS, duration, listed, name, signed, significant, spread

ROOM = (40.0, 20.0, 400.0, 280.0)


def models(given: Found) -> list[ComparedModel]:
    return list(comparison_data(given).models)


@pytest.fixture
def three() -> list[ComparedModel]:
    return models(found(["recgrela", "sasrec", "popularity"], epochs=4))


def _overlap(one: Box, other: Box) -> bool:
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


@pytest.mark.parametrize("number", [1, 2, 5, 12, 30])
@pytest.mark.parametrize("width", [8, 120, 400])
def test_names_touch_neither_each_other_nor_other_marks(number: int, width: float) -> None:
    """width: of the crowd of marks."""
    rng = np.random.default_rng(number)
    marks = [(200 + x, 150 + y) for x, y in rng.uniform(-0.4, 0.4, (number, 2)) * (width, width / 2)]
    widths = [(float(w), 14.0) for w in rng.uniform(30, 110, number)]
    taken = [(100.0, 100.0, 104.0, 200.0)]
    places = label_places(marks, widths, ROOM, taken)
    boxes = [box for _, box in filter(None, places)]
    assert len(places) == number
    assert len(boxes) >= min(number, 12)
    if None in places:  # nobody has its name while another has none
        assert not any(place and place[0] == 0 for place in places)
    for place, mark, choices in zip(places, marks, widths, strict=True):
        if place is None:
            continue
        which, (left, top, right, bottom) = place
        assert right - left == pytest.approx(choices[which])
        assert bottom - top == pytest.approx(HEIGHT)
        assert left >= ROOM[0] and top >= ROOM[1] and right <= ROOM[2] and bottom <= ROOM[3]  # noqa: PT018
        assert not _overlap(place[1], taken[0])
        for x, y in (other for other in marks if other != mark):
            assert not _overlap(place[1], (x - MARGIN, y - RADIUS, x + MARGIN, y + RADIUS))
    assert not any(_overlap(one, other) for one, other in combinations(boxes, 2))


def test_no_line_from_a_mark_to_its_name_crosses_another_name() -> None:
    rng = np.random.default_rng(3)
    marks = [(200 + x, 150 + y) for x, y in rng.uniform(-25, 25, (12, 2))]
    places = label_places(marks, [(70.0, 14.0)] * 12, ROOM)
    placed = [(mark, place[1]) for mark, place in zip(marks, places, strict=True) if place]
    assert len(placed) == 12
    for mark, box in placed:
        x, y = nearest_point(box, mark)
        way = [(mark[0] + (x - mark[0]) * s, mark[1] + (y - mark[1]) * s) for s in np.linspace(0, 1, 200)]
        for other in (b for _, b in placed if b != box):
            assert not any(other[0] < u < other[2] and other[1] < v < other[3] for u, v in way)


def test_a_lone_mark_has_its_name_at_its_right() -> None:
    (place,) = label_places([(100.0, 100.0)], [(50.0, 10.0)], ROOM)
    assert place is not None
    assert place[0] == 0
    assert place[1] == pytest.approx((108, 92.5, 158, 107.5))


def test_a_name_without_room_gives_way_to_the_shorter_words_and_then_to_none() -> None:
    narrow = (90.0, 80.0, 140.0, 120.0)
    assert [place and place[0] for place in label_places([(100.0, 100.0)], [(60.0, 10.0)], narrow)] == [1]
    assert label_places([(100.0, 100.0)], [(60.0, 50.0)], narrow) == [None]


@pytest.mark.parametrize(
    "values", [[3.0], [0.0044, 4.1], [1.0, 1e6], [100.0, 10_000.0], [535.0, 543.0], [2e-5, 9e-5], [5.0, 5.0]]
)
@pytest.mark.parametrize("end", [150.0, 400.0])
def test_a_logarithmic_axis_holds_every_value_and_its_words_keep_apart(
    values: list[float], end: float
) -> None:
    axis = log_axis(values, start=10, end=end)
    assert len(axis.ticks) >= 2
    for value in (*values, *axis.ticks):
        assert 10 - 1e-6 <= axis(value) <= end + 1e-6
    spans = [(axis(t) - CHARACTER * len(axis.words(t)) / 2, axis(t)) for t in axis.ticks]
    spans = [(left, 2 * middle - left) for left, middle in spans]
    assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_equal_ratios_are_equal_distances() -> None:
    axis = log_axis([1.0, 100.0], start=0, end=100)
    assert axis(10.0) == pytest.approx(50)
    assert axis(20.0) - axis(10.0) == pytest.approx(axis(2.0) - axis(1.0))


def test_a_logarithmic_axis_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no positive value among 2"):
        log_axis([0.0, math.nan], start=0, end=100)


def test_a_single_group_stands_in_the_middle() -> None:
    assert Places(["1"], 10, 30)(0) == 20
    assert [Places(["1", "21", "51"], 10, 30)(t) for t in (0, 1, 2)] == [10, 20, 30]


def test_seeds_are_drawn_where_there_are_several(three: list[ComparedModel]) -> None:
    drawn = charts.accuracy("k", "NDCG@10", three, "ndcg@10")
    assert drawn.count('class="seed s1"') == drawn.count('class="seed s2"') == 2 * 3  # none of the floor
    # a whisker and a mark for each model and view, and the marks of the legend
    assert drawn.count('class="whisker s1"') == drawn.count('class="whisker s2"') == 3
    assert drawn.count('class="mark s1"') == drawn.count('class="mark hollow s2"') == 3 + 1


def test_the_whisker_of_a_row_spans_its_interval(three: list[ComparedModel]) -> None:
    drawn = charts.accuracy("k", "NDCG@10", three, "ndcg@10")
    ends = [
        (float(a), float(b))
        for a, b in re.findall(r'x1="([^"]*)"[^>]*x2="([^"]*)"[^>]*class="whisker s1"', drawn)
    ]
    marks = [float(x) for x in re.findall(r'cx="([^"]*)" cy="(?!0")[^"]*" r="4"', drawn)]
    intervals = [m.ndcg("filtered") for m in three]
    scale = (marks[0] - marks[2]) / (intervals[0][0] - intervals[2][0])
    for (low, high), mark, (value, least, most) in zip(ends, marks, intervals, strict=True):
        assert (mark - low, high - mark) == pytest.approx(
            (scale * (value - least), scale * (most - value)), abs=0.2
        )


def _marks(drawn: str) -> dict[str, tuple[float, float]]:
    """The places of trained marks and of floors, in the order of the models; the legend's are at 0."""
    circles = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([^"]*)" cy="(?!0")([^"]*)"', drawn)]
    squares = re.findall(r'<rect x="([^"]*)" y="([^"-]*)"', drawn)
    return {"trained": circles, "floors": [(float(x) + 4, float(y) + 4) for x, y in squares]}


@pytest.mark.parametrize("chart", [charts.against_time, charts.against_memory, charts.against_latency])
def test_what_costs_more_is_further_right_and_what_is_better_higher(chart: object) -> None:
    every = models(found())
    drawn = chart("k", every)  # type: ignore[operator]
    attribute = {"against_time": "training_seconds", "against_memory": "peak_bytes"}.get(
        chart.__name__,  # type: ignore[attr-defined]
        "latency_ms",
    )
    trained = [model for model in every if model.trained]
    places = _marks(drawn["k_filtered"])["trained"]
    assert len(places) == len(trained)
    by_cost = sorted(zip(trained, places, strict=True), key=lambda pair: getattr(pair[0], attribute))
    assert all(before[1][0] <= after[1][0] for before, after in pairwise(by_cost))
    by_value = sorted(zip(trained, places, strict=True), key=lambda pair: pair[0].ndcg("filtered")[0])
    assert all(before[1][1] >= after[1][1] for before, after in pairwise(by_value))


def test_floors_stand_before_the_axis_of_training_time() -> None:
    drawn = charts.against_time("k", models(found()))["k_filtered"]
    places = _marks(drawn)
    assert len(places["floors"]) == 3
    assert max(x for x, _ in places["floors"]) < min(x for x, _ in places["trained"])
    assert ">at once</text>" in drawn
    alone = charts.against_time("k", models(found(["recgrela", "sasrec"])))["k_filtered"]
    assert ">at once</text>" not in alone


def test_both_views_have_the_same_axes() -> None:
    drawn = charts.against_latency("k", models(found()))
    grids = [re.findall(r'<line [^>]*class="grid">', drawn[f"k_{view}"]) for view in VIEWS]
    assert grids[0] == grids[1]


def test_every_model_of_a_scatter_is_named() -> None:
    every = models(found())
    for view in VIEWS:
        drawn = charts.against_memory("k", every)[f"k_{view}"]
        words = re.findall(r'class="name[^"]*">([^<]*)<', drawn)
        assert len(words) == len(every)
        for place, model in enumerate(every, 1):
            assert model.name in words or str(place) in words


def test_floors_alone_have_no_training_time() -> None:
    only = models(found(["item-knn", "popularity"]))
    assert set(charts.against_time("k", only).values()) == {""}
    assert all(charts.against_latency("k", only).values())
    assert courses_by_epoch("k", only) == courses_by_seconds("k", only) == ""


def test_nothing_is_drawn_of_nothing() -> None:
    drawn = charts.all_charts(comparison_data(found([])))
    assert len(drawn) == 11
    assert set(drawn.values()) == {""}


def test_every_model_has_its_panel_and_the_first_is_grey_in_the_others(three: list[ComparedModel]) -> None:
    drawn = groups_by_length("k", three)
    assert [drawn.count(f">{m.name}</text>") for m in three] == [2, 1, 1]  # the first in the legend too
    assert drawn.count("<polyline") == 3 * 2 + 2 * 2 + 2 * 2 * 3  # means, references, seeds of two models
    assert drawn.count('class="reference"') == 2 * 2 + 1
    assert drawn.count('class="whisker thin') == 2 * 6  # the floor's, in both views


def test_one_panel_has_no_reference() -> None:
    assert "reference" not in groups_by_length("k", models(found(["sasrec"])))


def test_a_course_over_time_ends_where_its_training_ends() -> None:
    every = found(["recgrela", "mamba4rec"], seeds=1, epochs=4)
    drawn = courses_by_seconds("k", models(every))
    ways = re.findall(r'<polyline points="([^"]*)" class="curve s1"', drawn)
    starts = [[float(place.split(",")[0]) for place in way.split()] for way in ways]
    assert len(ways) == 2
    assert all(len(way) == 4 and way == sorted(way) for way in starts)
    fast, slow = [sum(e["seconds"] for e in run["epochs"]) for run in every["runs"]]
    first = [run["epochs"][0]["seconds"] for run in every["runs"]]
    # equal ratios are equal distances within a panel
    for way, total, begin in zip(starts, (fast, slow), first, strict=True):
        whole = (way[-1] - way[0]) / math.log(total / begin)
        assert whole == pytest.approx((starts[0][-1] - starts[0][0]) / math.log(fast / first[0]), rel=0.02)


@pytest.mark.parametrize("cost", [0.01, 0.1, 1, 30, 1_000])
def test_words_below_neighbouring_panels_keep_apart(cost: float) -> None:
    every = found(["recgrela", "mamba4rec"], epochs=4)
    for run in every["runs"]:
        for epoch in run["epochs"]:
            epoch["seconds"] *= cost
    for chart in (groups_by_length, courses_by_epoch, courses_by_seconds):
        ticks = re.findall(r'<text x="([^"]*)" y="([^"]*)"[^>]*>([\d.,]+)</text>', chart("k", models(every)))
        lowest = max(float(y) for _, y, _ in ticks)
        half = CHARACTER / 2
        spans = sorted(
            (float(x) - half * len(w), float(x) + half * len(w)) for x, y, w in ticks if float(y) == lowest
        )
        assert len(spans) >= 4
        assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_an_epoch_without_validation_leaves_a_point_out() -> None:
    every = found(["sasrec"], seeds=1, epochs=4)
    every["runs"][0]["epochs"][1]["metrics"] = {}
    drawn = courses_by_epoch("k", models(every))
    (way,) = re.findall(r'<polyline points="([^"]*)" class="curve s1"', drawn)
    assert len(way.split()) == 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.00031, "0.00031 s"),
        (9.4, "9.4 s"),
        (59.7, "1 min"),
        (185, "3 min 5 s"),
        (7_384, "2 h 3 min"),
        (7_210, "2 h"),
    ],
)
def test_durations_are_said_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert duration(seconds) == words
    assert duration(math.nan) == "—"


def test_numbers_keep_what_matters() -> None:
    assert [significant(v) for v in (0.0043512, 4.026, 999.7, 12_345.0)] == [
        "0.00435",
        "4.03",
        "1,000",
        "12,300",
    ]
    assert [signed(v) for v in (0.01, -0.01, 0.00001, -0.00001)] == ["+0.0100", "−0.0100", "0.0000", "0.0000"]
    assert [spread([24, 24]), spread([24, 3])] == ["24", "3–24"]


def test_names_in_a_sentence_are_listed_and_isolated() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert name("recgrela:without-local-branch") == "\u2068…:without-local-branch\u2069"
    assert name("recgrela:" + "a" * 12 + "b" * 13) == "\u2068…:" + "a" * 10 + "…" + "b" * 11 + "\u2069"
    assert name("a" * 12 + "b" * 13) == "\u2068" + "a" * 12 + "…" + "b" * 11 + "\u2069"
    assert [name("a" * 24), name(" ")] == ["a" * 24, "(no title)"]
    assert name("שלום") == "\u2068שלום\u2069"
