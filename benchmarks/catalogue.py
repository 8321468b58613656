"""Training over large catalogues: events per second and peak memory, by loss and number of items.

    python benchmarks/catalogue.py --json catalogue.json
    python benchmarks/catalogue.py --items 1000000 --losses sampled_softmax gbce --steps 20

Each case trains the default model in a process of its own, as `grela fit` does: steps, validation (a few full-catalogue
scores), the copy of the best weights, checkpoints. A second process resumes from the checkpoint. Peak memory is each
process's largest resident set, imports (some 300 MB) included. Softmax over all items is left out above a million.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from library import (
    RecGRELA,
    RecGRELAConfig,
    Silence,
    Training,
    TrainingConfig,
    TrainingSequences,
    WindowPlan,
)
from processes import CaseError
from synthetic import gaps

from grela.configuration import WITHOUT_REPEATS
from grela.data.histories import HistoryBatch
from grela.serving.scorer import ModelScorer
from grela.training.config import LossName
from grela.training.loop import selected_by
from grela.training.losses import DENSE

ITEMS = (10_000, 100_000, 1_000_000, 10_000_000)
MOST_DENSE = 1_000_000
MEAN_LENGTH = 160
POSITIONS = 6_400
VALIDATED = 8
RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024


def sequences(items: int, events: int) -> TrainingSequences:
    """Histories of like length whose items follow Zipf's law; no table of N probabilities is made."""
    rng = np.random.default_rng(0)
    drawn = np.exp(rng.random(events) * np.log(items + 1)).astype(np.int32).clip(1, items)
    start = np.arange(0, events - 1, MEAN_LENGTH)
    return TrainingSequences(drawn, start, np.append(start[1:], events), gaps(1, events))


def measure(items: int, loss: str, steps: int, threads: int, folder: Path) -> dict[str, Any]:
    """Train two epochs of `steps` steps in `folder`, or resume a training that lies there finished."""
    torch.set_num_threads(threads)
    negatives = 1 if loss == "binary_cross_entropy" else TrainingConfig.negatives
    config = TrainingConfig(
        epochs=2, batch_positions=POSITIONS, loss=loss, negatives=negatives, checkpoint_seconds=1e9
    )
    plan = WindowPlan(sequences(items, steps * POSITIONS), config.window, POSITIONS, config.seed)
    binary = loss in ("gbce", "binary_cross_entropy")  # teaches no distribution that could be mixed
    shape = RecGRELAConfig(num_items=items, repeats=loss not in WITHOUT_REPEATS, next_gaps=0 if binary else 4)
    model = RecGRELA(shape, rng=torch.Generator().manual_seed(0))

    def validate(model: RecGRELA) -> dict[str, float]:
        scorer, histories = ModelScorer(model, window=config.window), list(validated(plan.sequences))
        best = [scorer.scores(HistoryBatch.of([history])).max() for history in histories]
        return {selected_by(model): float(np.mean(best))}

    training = Training(model, plan, config, folder=folder, validate=validate, listener=Silence())
    resumed = (folder / "checkpoint.safetensors").exists()
    last = training.run().epochs[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT
    if resumed:
        return {"resume_peak_bytes": peak}
    return {
        "events_per_second": last["events_per_second"],
        "seconds_per_step": last["seconds"] / plan.steps(1),
        "nats_per_event": last["loss"],
        "peak_bytes": peak,
        "dtype": str(training.dtype).removeprefix("torch."),
    }


def validated(sequences: TrainingSequences) -> Iterator[np.ndarray]:
    """A few histories to score."""
    for start, end in zip(sequences.start[:VALIDATED], sequences.end[:VALIDATED], strict=True):
        yield sequences.items[start:end]


def in_own_process(request: dict[str, Any]) -> dict[str, Any]:
    """`measure` in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CaseError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_case(items: int, loss: str, steps: int, threads: int, disk: Path | None) -> dict[str, Any]:
    """Train, then resume."""
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        request = {"items": items, "loss": loss, "steps": steps, "threads": threads, "folder": folder}
        return request | in_own_process(request) | in_own_process(request)


def main() -> int:
    """Measure, print, write JSON; exit code 1 if a case failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", nargs="+", type=int, default=ITEMS)
    parser.add_argument("--losses", nargs="+", choices=get_args(LossName), default=get_args(LossName))
    parser.add_argument("--steps", type=int, default=5, help="of an epoch; there are two, the second counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--disk", type=Path, help="folder for checkpoints; 5 GB at ten million items")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        asked.measure["folder"] = Path(asked.measure["folder"])
        print(json.dumps(measure(**asked.measure)))
        return 0
    cases, failed = [], 0
    for items, loss in ((n, loss) for n in asked.items for loss in asked.losses):
        if loss in DENSE and items > MOST_DENSE:
            continue
        try:
            case = run_case(items, loss, asked.steps, asked.threads, asked.disk)
        except CaseError as error:
            case, failed = {"items": items, "loss": loss, "error": str(error)}, failed + 1
            print(f"{items:>11,} {loss:24} failed: {error}", flush=True)
        else:
            print(
                f"{items:>11,} {loss:24} {case['events_per_second']:>9,.0f} events/s   "
                f"{case['peak_bytes'] / 1e9:6.2f} GB   resumed {case['resume_peak_bytes'] / 1e9:6.2f} GB",
                flush=True,
            )
        cases.append({key: value for key, value in case.items() if key != "folder"})
    result = {"cases": cases, "torch": torch.__version__, "machine": platform.machine()}
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
