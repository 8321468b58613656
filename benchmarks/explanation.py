"""What explaining a user's list costs, by the length of the history: `python benchmarks/explanation.py RUN`.

The state before the last event by the parallel form, then three readings of that event and the list of ten. Histories
are random items of the run's catalogue. Best of three, one thread.
"""

import sys
from time import perf_counter

import numpy as np
import torch

from grela import Recommender
from grela.data.histories import HistoryBatch
from grela.serving.explanation import explain
from grela.serving.ranking import Candidates
from grela.serving.state import Events
from grela.serving.stepper import TorchStepper

LENGTHS = (100, 1_000, 10_000, 100_000)
TIMES = 3


def cost(stepper: TorchStepper, length: int) -> tuple[float, float]:
    """Milliseconds of both parts."""
    rng, num_items = np.random.default_rng(length), stepper.model.config.num_items
    items = rng.integers(1, num_items + 1, length).astype(np.int32)
    history = HistoryBatch.of([items], [np.cumsum(rng.integers(0, 1_000, length))])
    candidates = Candidates(np.full(num_items, True), filter_seen=False)
    last = Events.of([1], [int(history.times[-1]) + 60])
    began = perf_counter()
    (before,) = stepper.rebuild(history)
    rebuilt = perf_counter()
    explain(stepper, before, last, candidates, 10)
    return 1_000 * (rebuilt - began), 1_000 * (perf_counter() - rebuilt)


def main(run: str) -> None:
    """Print a line for each length."""
    torch.set_num_threads(1)
    recommender = Recommender.load(run, device="cpu")
    stepper = TorchStepper(recommender.model, form=recommender.scorer.form)
    print(f"{stepper.model.config.num_items:,} items, form {recommender.scorer.form.name}")
    for length in LENGTHS:
        state, read = (
            min(parts) for parts in zip(*(cost(stepper, length) for _ in range(TIMES)), strict=True)
        )
        print(f"{length:>9,} events  state {state:8.1f} ms  readings and list {read:6.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1])
