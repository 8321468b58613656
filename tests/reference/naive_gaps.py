"""The buckets of gaps by a loop over one history, in exact arithmetic where a gap is a whole number.

It shares no code with `grela`: bucket 0 is unknown, 1 is no time at all, and half-octaves follow from 2^-20 on.
"""

import math
from itertools import pairwise

NO_TIME = -(2**63)
FIRST, LAST = -40, 126


def known(time):
    return not math.isnan(time) and time != NO_TIME


def half_octave(gap):
    """floor(2 log2 gap), between FIRST and LAST."""
    if isinstance(gap, int):
        return (gap * gap).bit_length() - 1
    mantissa, exponent = math.frexp(gap)  # mantissa in 1/2..1
    found = 2 * (exponent - 1) + (mantissa >= math.sqrt(0.5))
    return min(max(found, FIRST), LAST)


def buckets(times):
    """The bucket of each event of one history."""
    found = [0]
    for before, after in pairwise(times):
        if not (known(before) and known(after)):
            found.append(0)
        elif after == before:
            found.append(1)
        else:
            found.append(2 + half_octave(after - before) - FIRST)
    return found[: len(times)]
