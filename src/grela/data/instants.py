"""Moments as people give them, in the unit of a log's times."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from grela.errors import ConfigError


def instant(value: int | float | str | np.number[Any], name: str, unit: str) -> int | float:
    """The time as a number in the log's unit: a number, or ISO 8601 where that is "us" (UTC if no zone is given)."""
    if isinstance(value, str):
        return _microseconds(value, name, unit)
    number = value.item() if isinstance(value, np.number) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or _endless(number):
        raise ConfigError(f"{name} is {value!r}, expected a finite number or an ISO 8601 date")
    return number


def _endless(number: int | float) -> bool:
    # An integer beyond every float is finite, and may not be asked.
    return isinstance(number, float) and not math.isfinite(number)


def _microseconds(text: str, name: str, unit: str) -> int:
    if unit != "us":
        raise ConfigError(
            f"{name} is {text!r}, but this log's times are plain numbers: give a number in their unit"
        )
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}, expected an ISO 8601 date such as 2023-01-31") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
