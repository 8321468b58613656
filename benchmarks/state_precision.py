"""What a state loses over many events, in float32 and as it would be stored more narrowly, against float64.

    python benchmarks/state_precision.py --run runs/ml-1m
    python benchmarks/state_precision.py --items 3400

One made-up history, event by event by the compiled step; at each of some lengths the largest error of the state, of the
hidden state and of the scores, as a share of the largest number, and how much of the ten best items is kept. A narrow
state is stored and read back either at the last event alone, or every so many events.
"""

import json
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from made_up import measured_model, parser_of

from grela.data.histories import HistoryBatch
from grela.evaluation.lists import top_items
from grela.models.recgrela import RecGRELA
from grela.serving.compiled_stepper import CompiledStepper
from grela.serving.state import Events, UserState
from grela.serving.stepper import TorchStepper

LENGTHS = (1_000, 10_000, 100_000)


class Way(NamedTuple):
    """How a state is stored: not more narrowly than it is, or so, at the last event or every so many."""

    dtype: torch.dtype | None = None
    every: int | None = None


WAYS = {
    "float32": Way(),
    "float16, stored once": Way(torch.float16),
    "float16, stored every 100 events": Way(torch.float16, 100),
    "float16, stored at every event": Way(torch.float16, 1),
    "bfloat16, stored once": Way(torch.bfloat16),
}


def narrow(state: UserState, dtype: torch.dtype) -> None:
    """Round a state as if it were stored so; scaled, where sums are too large for a float16."""
    numbers = torch.from_numpy(state.recurrent)
    scale = max(1.0, float(numbers.abs().max()) / 32_768)
    numbers.copy_((numbers / scale).to(dtype).float() * scale)


def history(length: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Items of which few are frequent, and times from a second to some months apart."""
    rng = np.random.default_rng(0)
    drawn = (items * rng.random(length) ** 2).astype(np.int32) + 1
    return drawn, np.cumsum((2.0 ** rng.uniform(0, 24, length)).astype(np.int64))


def share(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest error as a share of the largest number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


class Exact:
    """The float64 model's recompute of one history."""

    def __init__(self, model: RecGRELA, items: np.ndarray, times: np.ndarray) -> None:
        stepper = TorchStepper(deepcopy(model).double())
        (state,) = stepper.rebuild(HistoryBatch.of([items], [times]))
        self.recurrent, self.scores = state.recurrent, stepper.scores([state])[0]


def measured(
    stepper: CompiledStepper, items: np.ndarray, times: np.ndarray, way: Way, exact: Exact
) -> dict[str, float]:
    """The errors of one way over one history."""
    state, every, width = stepper.empty(), way.every or len(items), stepper.layout.width
    for low in range(0, len(items), every):
        part = slice(low, low + every)
        (state,) = stepper.advance([state], [Events(items[part], times[part])])
        if way.dtype is not None:
            narrow(state, way.dtype)
    scores = stepper.scores([state])[0]
    return {
        "state": share(state.recurrent[:-width], exact.recurrent[:-width]),
        "hidden": share(state.recurrent[-width:], exact.recurrent[-width:]),
        "scores": share(scores, exact.scores),
        "top 10": len(np.intersect1d(top_items(scores, 10), top_items(exact.scores, 10))) / 10,
    }


def main() -> None:
    """Print a table and write JSON."""
    parser = parser_of(__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = measured_model(parser, arguments)
    stepper, found = CompiledStepper(model), []
    for length in arguments.lengths:
        items, times = history(length, model.config.num_items)
        exact = Exact(model, items, times)
        for name, way in WAYS.items():
            errors = measured(stepper, items, times, way, exact)
            found.append({"events": length, "stored": name, **errors})
            said = "  ".join(f"{what} {error:8.1e}" for what, error in errors.items() if what != "top 10")
            print(f"{length:9,} events, {name:32} {said}  top 10 kept {errors['top 10']:.1f}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
