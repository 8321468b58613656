"""The full softmax on a CPU, loss and gradients: by the kernels, which have one core, by PyTorch on one and on all.

    python benchmarks/softmax.py
    python benchmarks/softmax.py --sizes 150,41086,128 --turns 15

A size is positions,items,width; the first three are a step of ML-1M, ml-latest-small and Food.com. Shows why what has a
core for each row of a step takes the kernels, and what computes a step as one row does not.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from grela.ops.compiled.softmax import softmax as by_kernels
from grela.ops.losses.softmax import softmax
from grela.ops.losses.targets import Loss, Targets

SIZES = (
    (3340, 3416, 64),
    (1024, 9066, 64),
    (1144, 41086, 64),
    (3340, 3416, 128),
    (835, 3416, 64),
    (150, 41086, 128),
)


def step(loss: Loss, positions: int, items: int, width: int) -> Callable[[], None]:
    """A call of loss and gradients on random numbers."""
    rng = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, width, generator=rng, requires_grad=True)
    weight = (0.02 * torch.randn(items + 1, width, generator=rng)).requires_grad_()
    targets = Targets(torch.randint(1, items + 1, (positions,), generator=rng))

    def call() -> None:
        torch.autograd.grad(loss(hidden, weight, targets, rng), (hidden, weight))

    return call


def milliseconds(calls: list[Callable[[], None]], turns: int) -> list[float]:
    """The median of each call; they take turns, since the machine's speed changes."""
    taken: list[list[float]] = [[] for _ in calls]
    for turn in range(turns + 1):
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            if turn:  # the first one warms up
                times.append(1000 * (time.perf_counter() - start))
    return [statistics.median(times) for times in taken]


def main(arguments: list[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", nargs="+", type=lambda s: tuple(int(n) for n in s.split(",")), default=SIZES
    )
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args(arguments)
    cores = torch.get_num_threads()
    print(f"| positions, items, width | kernels, one core | PyTorch, one core | PyTorch, {cores} cores |")
    print("|---|---|---|---|")
    for size in args.sizes:
        torch.set_num_threads(1)
        taken = milliseconds([step(loss, *size) for loss in (by_kernels, softmax)], args.turns)
        torch.set_num_threads(cores)
        taken += milliseconds([step(softmax, *size)], args.turns)
        print(
            f"| {', '.join(f'{n:,}' for n in size)} |" + "".join(f" {ms:.1f} ms |" for ms in taken),
            flush=True,
        )


if __name__ == "__main__":
    main()
