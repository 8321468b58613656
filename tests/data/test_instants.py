"""A moment is a number in the log's unit, of any library's type, or a date where the log has dates."""

import numpy as np
import pytest

from grela.data.instants import instant
from grela.errors import ConfigError


@pytest.mark.parametrize(
    "value", [7, 7.5, np.int64(7), np.int32(7), np.uint8(7), np.float64(7.5), np.float32(7.5)]
)
def test_numbers_of_any_type_are_taken_as_they_are(value):
    for unit in ("us", "given"):
        found = instant(value, "t", unit)
        assert found == value
        assert type(found) in (int, float)


def test_dates_are_microseconds_since_1970_and_of_utc_where_no_zone_is_said():
    assert instant("1970-01-02", "t", "us") == 86_400_000_000
    assert instant("1970-01-01T01:00:00.000001+01:00", "t", "us") == 1
    assert instant("1969-12-31T23:59:59", "t", "us") == -1_000_000


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        None,
        float("nan"),
        float("inf"),
        np.float64("nan"),
        np.float32("inf"),
        [1],
        1j,
        np.complex64(1),
    ],
)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ConfigError, match=r"t is .*expected a finite number or an ISO 8601 date"):
        instant(value, "t", "us")


def test_an_integer_beyond_every_float_is_a_number():
    assert instant(10**400, "t", "us") == 10**400


def test_dates_are_refused_by_name_where_the_log_has_numbers_or_they_are_none():
    with pytest.raises(ConfigError, match="t is '2024-05-01', but this log's times are plain numbers"):
        instant("2024-05-01", "t", "given")
    with pytest.raises(ConfigError, match="t is 'soon', expected an ISO 8601 date"):
        instant("soon", "t", "us")
