"""The gap between an event and the one before it, as one of a fixed number of buckets of its logarithm.

A bucket is half an octave wide, whatever the unit of the log's times, so nothing about it depends on the data.
"""

import numpy as np

# E events

UNKNOWN, TIED = 0, 1
_LEAST, _MOST = -40, 126  # in half-octaves: from a millionth of the unit to all that an int64 holds
BUCKETS = 2 + _MOST - _LEAST + 1
NO_TIME = np.iinfo(np.int64).min


def gap_buckets(times: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The bucket of each event's gap, uint8 [E], in 0..BUCKETS - 1.

    times int64 or float64 [E], in order within each history; `NO_TIME`, or NaN, where none is known. Histories
    begin at `starts`: `UNKNOWN` is the gap of their first events, and where either time is missing. `TIED` is a gap
    of 0.
    """
    buckets = np.full(len(times), UNKNOWN, np.uint8)
    if len(times) < 2:
        return buckets
    known = ~np.isnan(times) if times.dtype.kind == "f" else times != NO_TIME
    follows = np.append(False, known[1:] & known[:-1])
    follows[starts[starts < len(times)]] = False
    buckets[follows] = TIED
    apart = np.append(0, times[1:] - times[:-1])  # where a time is missing, a number that is not looked at
    positive = np.flatnonzero(follows & (apart > 0))
    half_octaves = np.floor(2 * np.log2(apart[positive]))
    buckets[positive] = 2 - _LEAST + np.clip(half_octaves, _LEAST, _MOST).astype(np.int64)
    return buckets


def gap_bucket(before: int | float, time: int | float) -> int:
    """`gap_buckets` of one gap between known times."""
    apart = time - before
    if apart <= 0:
        return TIED
    return 2 - _LEAST + min(max(int(np.floor(2 * np.log2(apart))), _LEAST), _MOST)
