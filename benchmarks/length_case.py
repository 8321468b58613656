"""One body at one length in a process of its own: `python benchmarks/length_case.py '{"model": "GRU", ...}'`.

It prints what it took as JSON. Memory is that of the first call, after a short one has made what is made once.
"""

import ctypes
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from bodies import BODIES, Body, Size
from measure import seconds_of_others, share
from torch import Tensor

from grela.ops.memory import keep_freed_memory

WARM_UP = 32
STEPS = 20  # timed as one: a single step is near the clock's own grain
FEWEST, MOST = 1, 200  # timings of a process

Call = Callable[[], object]


@dataclass(frozen=True)
class LengthCase:
    """What one process measures: "pass" is forward and backward over `length` positions, "step" one event after them.

    It repeats its call for `seconds`, and once at least; where `length` is above `base`, by turns with calls of that
    length: what disturbs the machine disturbs both alike. After `most_seconds` of processor time it is ended.
    """

    model: str
    what: str
    length: int
    base: int
    device: str
    width: int
    heads: int
    layers: int
    threads: int
    seconds: float
    most_seconds: int

    def __str__(self) -> str:
        where = "positions" if self.what == "pass" else "events before"
        return f"{self.model}, {self.what}, {self.length:,} {where}, {self.device}"


def measure(case: LengthCase) -> dict[str, Any]:
    """Times of a call, on the host's processors (mean) and by the clock (median), and the most memory the first added.

    `peak_bytes` is None where memory is not counted; with "step" it holds the state, `state_bytes`, too.
    `first_seconds` is the first call's by the case's `clock`, `others` what other processes took of all cores.
    `growth` is what an event costs by that clock, divided by what it costs at the case's `base`; None where the
    length is not above that.
    """
    keep_freed_memory()
    torch.set_num_threads(case.threads)
    device = torch.device(case.device)
    rng = torch.Generator(device).manual_seed(0)
    body = BODIES[case.model](Size(case.width, case.heads, case.layers), rng)
    prepare, once = (whole_pass, 1) if case.what == "pass" else (one_step, STEPS)
    again = case.length // case.base if case.what == "pass" else 1  # calls of the base in one turn
    longer = case.length > case.base
    # Training forms products in bfloat16 on CUDA, and there the fused kernels of softmax attention ask for it.
    narrow = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    with narrow, torch.inference_mode() if case.what == "step" else nullcontext():
        prepare(body, min(WARM_UP, case.length), case.width, rng)[0]()
        gc.collect()
        finish(device)
        with added_memory(device) as peak:
            call, state = prepare(body, case.length, case.width, rng)
            first = timed(call, device)
        calls = [call]
        if longer:
            calls.append(repeating(prepare(body, case.base, case.width, rng)[0], again))
            timed(calls[1], device)
        start, others = time.perf_counter(), seconds_of_others()
        turns = list(repeated(calls, case.seconds, device))
        busy = share(others, seconds_of_others(), time.perf_counter() - start)
    found = [usual([turn[number] for turn in turns]) for number in range(len(calls))]
    at = clock(case.device)
    shorter = again * case.base / case.length if case.what == "pass" else 1  # events of the two turns
    return {
        "cpu_seconds": found[0][0] / once,
        "wall_seconds": found[0][1] / once,
        "first_seconds": first[at] / once,
        "growth": shorter * found[0][at] / found[1][at] if longer else None,
        "timings": len(turns),
        "peak_bytes": peak[0] if peak else None,
        "state_bytes": sum(part.nbytes for part in tensors(state)),
        "others": busy,
        "form": body.form,
    }


def clock(device: str) -> int:
    """Which of a call's two times counts: the processors' on a CPU, which others disturb least, else the clock's."""
    return 0 if device == "cpu" else 1


def whole_pass(body: Body, length: int, width: int, rng: torch.Generator) -> tuple[Call, None]:
    """Forward and backward over one history: gradients by the input and by all weights."""
    x, by_y = (torch.randn(1, length, width, generator=rng, device=rng.device) for _ in range(2))
    inputs = [x.requires_grad_(), *body.weights()]

    def call() -> None:
        y = body(x)
        torch.autograd.grad(y, inputs, by_y.to(y.dtype))

    return call, None


def one_step(body: Body, length: int, width: int, rng: torch.Generator) -> tuple[Call, Any]:
    """`STEPS` times the same step, from the state after `length` events; and that state."""
    x = torch.randn(1, width, generator=rng, device=rng.device)
    state = body.state(length, rng)

    def call() -> None:
        for _ in range(STEPS):
            body.step(x, state)

    return call, state


def repeating(call: Call, times: int) -> Call:
    """So many calls as one."""

    def calls() -> None:
        for _ in range(times):
            call()

    return calls


def repeated(
    calls: Sequence[Call], seconds: float, device: torch.device
) -> Iterator[list[tuple[float, float]]]:
    """Times of all calls by turns, as many turns as fit into so many seconds of each."""
    start = time.perf_counter()
    for number in range(MOST):
        if number >= FEWEST and time.perf_counter() - start > seconds * len(calls):
            return
        yield [timed(call, device) for call in calls]


def usual(times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The mean of processor times and the median of the clock's.

    Under the limit set below, Linux counts a process's time in ticks of some ms, to which it rounds single calls.
    """
    return statistics.fmean(cpu for cpu, _ in times), statistics.median(wall for _, wall in times)


def timed(call: Call, device: torch.device) -> tuple[float, float]:
    """Seconds of one call until the device is done: of all threads on the host, and by the clock."""
    finish(device)
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    finish(device)
    return time.process_time() - cpu, time.perf_counter() - wall


def finish(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def added_memory(device: torch.device) -> Iterator[list[int]]:
    """At the end the list holds the most memory that was in use within, less what was before; nothing if not counted.

    The device's tensors on CUDA, else the process's resident set, as Linux counts it.
    """
    found: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        found.append(torch.cuda.max_memory_allocated(device) - before)
        return
    counted = return_freed_memory() and forget_peak()
    before = resident("VmRSS") if counted else 0
    yield found
    if counted:
        found.append(max(0, resident("VmHWM") - before))


def return_freed_memory() -> bool:
    """Have glibc give all freed pages back, which a call would else take again without the system's noticing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is None:
        return False
    trim(0)
    return True


def forget_peak() -> bool:
    """Have Linux count the peak of the resident set from now on; whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def resident(name: str) -> int:
    """Bytes of the resident set: "VmRSS" now, "VmHWM" at most."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise KeyError(f"no {name} in /proc/self/status")


def tensors(state: Any) -> Iterator[Tensor]:
    """Every tensor of a state."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, tuple):
        for part in state:
            yield from tensors(part)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(json.dumps({"gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}))
    else:
        asked = LengthCase(**json.loads(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (asked.most_seconds, asked.most_seconds))
        print(json.dumps({"case": asdict(asked), **measure(asked)}))
