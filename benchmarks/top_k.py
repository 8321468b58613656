"""The 10 best of a catalogue, exactly: time and memory by number of items, by bounds of groups and by all scores.

    python benchmarks/top_k.py --json top_k.json
    python benchmarks/top_k.py --items 1000000 --histories 1 --seconds 5

Each case is a process of its own: the default model's scores (4 classes of the next gap, biases of items and of items
met) over made-up items, hidden states and histories of 150 events. Memory is what a call adds to the process's largest
resident set, beyond the model. Both forms are timed in turn in one process; the ratio is what this script is for.
"""

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from processes import CaseError, answer

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.losses.targets import SeenItems
from grela.ops.repeats import Met, met_before
from grela.serving.ranking import Candidates
from grela.serving.top_k import blocked, plain

ITEMS = (3_417, 100_000, 1_000_000)
HISTORIES = (1, 32)
LENGTH = 150
K = 10
RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024
FORMS = {"blocked": blocked, "plain": plain}


def made_up(items: int, histories: int) -> tuple[RecGRELA, torch.Tensor, Met, Candidates]:
    """A model whose logits spread by 3 nats, hidden states, and what was met."""
    rng = torch.Generator().manual_seed(0)
    model = RecGRELA(RecGRELAConfig(num_items=items, layers=1), rng=rng)
    with torch.no_grad():
        model.embedding.weight.normal_(0, 0.375, generator=rng)
        assert model.next_gap is not None
        model.next_gap.maps.normal_(0, 0.05, generator=rng)
        assert model.item_bias is not None
        model.item_bias.weight.normal_(0, 1, generator=rng)
        assert model.repeats is not None
        model.repeats.start_at(-3.0)
    hidden = torch.randn(histories, model.config.width, generator=rng)
    history = torch.randint(1, items + 1, (histories * LENGTH,), generator=rng)
    end = torch.arange(1, histories + 1) * LENGTH
    met = met_before(SeenItems(history, end - LENGTH, end), 0, histories, items)
    return model, hidden, met, Candidates(np.ones(items, bool), filter_seen=True)


def measure(
    items: int, histories: int, seconds: float, threads: int, memory_of: str | None
) -> dict[str, Any]:
    """Both forms' median seconds in turn; or, with `memory_of`, what one call of that form adds to the process."""
    torch.set_num_threads(threads)
    model, hidden, met, candidates = made_up(items, histories)

    def call(form: str) -> None:
        with torch.inference_mode():
            FORMS[form](model, hidden, met, candidates, K)

    if memory_of is not None:
        before = peak()
        call(memory_of)
        return {"bytes": peak() - before}
    for form in FORMS:
        call(form)
    taken: dict[str, list[float]] = {form: [] for form in FORMS}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken["plain"]) < 3:
        for form in FORMS:
            taken[form].append(timed(lambda form=form: call(form)))
    return {form: float(np.median(values)) for form, values in taken.items()}


def timed(call: Callable[[], None]) -> float:
    """Seconds of processor time, which other processes do not lengthen."""
    start = time.process_time()
    call()
    return time.process_time() - start


def peak() -> int:
    """The largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Times, then memory, in three processes."""

    def ask(memory_of: str | None) -> dict[str, Any]:
        return answer(Path(__file__), ["--measure", json.dumps(case | {"memory_of": memory_of})], {})

    seconds = ask(None)
    return {
        "items": case["items"],
        "histories": case["histories"],
        "milliseconds": {form: 1e3 * value for form, value in seconds.items()},
        "megabytes": {form: ask(form)["bytes"] / 1e6 for form in FORMS},
    }


def main() -> int:
    """Measure, print, write JSON; exit code 1 if a case failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", nargs="+", type=int, default=ITEMS)
    parser.add_argument("--histories", nargs="+", type=int, default=HISTORIES, help="in one call")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring, each case")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(**asked.measure)))
        return 0
    cases, failed = [], 0
    for items, histories in ((n, b) for n in asked.items for b in asked.histories):
        case = {"items": items, "histories": histories, "seconds": asked.seconds, "threads": asked.threads}
        try:
            found = run_case(case)
        except CaseError as error:
            print(f"{items:>9,} items, {histories:>3} histories: failed: {error}", flush=True)
            failed += 1
            continue
        ms, mb = found["milliseconds"], found["megabytes"]
        print(
            f"{items:>9,} items, {histories:>3} histories: {ms['blocked']:9.2f} ms by bounds, {ms['plain']:9.2f} ms "
            f"by all scores, ratio {ms['plain'] / ms['blocked']:5.2f}; {mb['blocked']:7.1f} and {mb['plain']:7.1f} MB",
            flush=True,
        )
        cases.append(found)
    if asked.json:
        facts = {"torch": torch.__version__, "machine": platform.machine(), "threads": asked.threads}
        asked.json.write_text(json.dumps({"cases": cases, **facts}, indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
