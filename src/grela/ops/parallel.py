"""Independent pieces of work on threads, each computing on one core.

Operators that divide their work among threads wait for one another after each; pieces that share nothing wait
once, at the end. And a piece computed on one core has the same bits however many cores there are.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def map_on_cores(work: Callable[[T], R], pieces: Iterable[T], *, threads: int) -> list[R]:
    """`work` of each piece, in their order, on at most `threads` threads; the first exception is raised."""
    todo = list(pieces)
    workers = min(threads, len(todo))
    if workers <= 1:
        with one_core():
            return [work(piece) for piece in todo]
    return list(_pool(threads).map(work, todo))


@contextmanager
def one_core() -> Iterator[None]:
    """Operators called within, on this thread, use one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose operators use one core each. The setting is a thread's own, but also what later threads get."""
    before = torch.get_num_threads()
    all_there = threading.Barrier(threads)

    def start() -> None:
        # A thread takes the process's number of threads over when first asked; only then is its own kept.
        torch.get_num_threads()
        torch.set_num_threads(1)
        all_there.wait()

    pool = ThreadPoolExecutor(threads, "grela")
    for started in [pool.submit(start) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(before)
    return pool
