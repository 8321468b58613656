"""Exponents and verdicts on numbers whose growth is known."""

import pytest
from comparison import Spread
from growth import exponent, quantities, relative, slope, steadiness, verdicts

LENGTHS = (128, 1_024, 2_048, 4_096)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(power):
    assert slope(LENGTHS, [3e-6 * n**power for n in LENGTHS]) == pytest.approx(power, abs=1e-12)


def test_the_exponent_is_the_least_squares_line_of_logarithms():
    # By hand: x = 0, 1, 2 and y = 0, 0, 3 in doublings; slope = (sum xy - n mean mean) / (sum xx - n mean^2) = 1.5.
    assert slope([1, 2, 4], [1, 1, 8]) == pytest.approx(1.5)


def test_each_repeat_has_a_fit_of_its_own_from_1024_up():
    curve = {n: [n**1.0, 7 * n**1.5, n**2.0] for n in LENGTHS[1:]} | {128: [1e9] * 3}
    found = exponent(curve)
    assert found is not None
    assert (found.low, found.median, found.high) == pytest.approx((1.0, 1.5, 2.0))


def test_a_repeat_that_lacks_a_length_is_fitted_by_the_others():
    found = exponent({1_024: [1.0, 1.0], 2_048: [2.0, 2.0], 4_096: [4.0]})
    assert found == Spread(*(pytest.approx(1.0),) * 3)


@pytest.mark.parametrize("curve", [{}, {1_024: [1.0]}, {128: [1.0], 256: [2.0]}])
def test_fewer_than_two_long_lengths_tell_no_exponent_and_no_verdict(curve):
    assert exponent(curve) is None
    assert steadiness(curve) is None


@pytest.mark.parametrize(
    ("last", "within"), [(1.0, True), (1.0999, True), (1.1001, False), (0.9001, True), (0.8999, False)]
)
def test_a_cost_is_steady_within_a_tenth_of_that_at_1024(last, within):
    found = steadiness({128: [50.0], 2_048: [1.0], 4_096: [last]})
    assert found is not None
    assert found.within == within


def test_steadiness_is_of_medians_and_says_where():
    found = steadiness({2_048: [0.5, 0.75, 90.0], 4_096: [1.5]})
    assert found is not None
    assert (found.low, found.low_at, found.high, found.high_at) == (0.75, 2_048, 1.5, 4_096)


def record(model: str, what: str, length: int, **figures: float) -> dict:
    case = {"model": model, "what": what, "length": length, "device": "cpu"}
    run = {"cpu_seconds": 1e-3, "growth": None, "peak_bytes": None, "state_bytes": 20, "others": None}
    return {"case": case, "repeats": [run | figures]}


def test_verdicts_are_of_costs_per_event_and_of_what_was_counted():
    records = [
        record("RecGRELA, PyTorch", what, n, growth=growth if n > 1_024 else None)
        for what, growth in (("pass", 0.95), ("step", 1.32))
        for n in LENGTHS
    ]
    saved = {"devices": ["cpu"], "models": {"cpu": ["RecGRELA, PyTorch", "GRU"]}, "records": records}
    found = verdicts(saved)
    assert [one["quantity"] for one in found] == [str(quantity) for quantity in quantities("cpu")]
    assert [one["within"] for one in found] == [True, None, False, True]
    assert (
        "yes, -5.0% (at 2,048) to -5.0% (at 2,048) of that at 1,024, measured up to 4,096"
        in found[0]["words"]
    )
    assert "not judged: it was not measured at 1,024 and above" in found[1]["words"]
    assert "NO, +32.0% (at 2,048)" in found[2]["words"]


def test_memory_of_a_position_is_compared_with_the_median_at_1024():
    records = [
        record("RecGRELA, PyTorch", "pass", n, peak_bytes=100 * n + 20 * (n > 2_048) * n) for n in LENGTHS
    ]
    records[1]["repeats"] *= 3
    records[1]["repeats"][0] = records[1]["repeats"][0] | {"peak_bytes": 1}
    memory = quantities("cpu")[1]
    found = relative(records, "RecGRELA, PyTorch", "cpu", memory)
    assert (found[2_048], found[4_096]) == ([1.0], [pytest.approx(1.2)])
    assert relative(records[:1], "RecGRELA, PyTorch", "cpu", memory) == {}
