"""Which worker owns which user."""

from zlib import crc32


def owner(user: str, workers: int) -> int:
    """The worker, 0..workers - 1, that alone follows this user: the same in every process and at every start."""
    return crc32(user.encode()) % workers
