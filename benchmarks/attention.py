"""Causal linear attention against the framework's fused softmax attention: forward and backward, time and peak memory.

    python benchmarks/attention.py --json attention.json           # on a CUDA device, by Triton's kernels
    python benchmarks/attention.py --device cpu --lengths 256 1024  # the chunked form, times only

Both get the same rows, heads and head width, and as many rows as make `--positions` at each length, so that a device
is equally full. Ours takes five inputs (queries and keys, plain and rotated, and values), softmax attention three.
Their calls alternate. Peak memory is what a call allocates above its inputs, the gradients of those included.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import chunked, empty_state

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}

Call = Callable[[], None]


def linear(
    form: Callable, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
) -> Call:
    """Forward and backward of our causal sum by `form`; shape is rows, positions, heads, head width."""
    rng = torch.Generator(device).manual_seed(0)

    def draw() -> Tensor:
        return torch.randn(shape, generator=rng, device=device)

    q, k = (positive_features(draw()) for _ in range(2))
    inputs = [x.to(dtype).requires_grad_() for x in (q, k, draw(), draw(), draw())]
    segments = torch.zeros(shape[:2], dtype=torch.int64, device=device)
    state = empty_state(shape[0], shape[2], shape[3], shape[3], like=inputs[0])
    weights = draw().to(dtype)

    def call() -> None:
        out, _ = form(*inputs, segments, state)
        torch.autograd.grad(out, inputs, weights.to(out.dtype))

    return call


def softmax(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Call:
    """Forward and backward of `scaled_dot_product_attention`, causal."""
    rows, length, heads, width = shape
    rng = torch.Generator(device).manual_seed(0)
    q, k, v, weights = (
        torch.randn(rows, heads, length, width, generator=rng, device=device).to(dtype) for _ in range(4)
    )
    inputs = [x.requires_grad_() for x in (q, k, v)]

    def call() -> None:
        torch.autograd.grad(scaled_dot_product_attention(*inputs, is_causal=True), inputs, weights)

    return call


def seconds_of(call: Call, device: torch.device) -> float:
    """Of one call: by the device's clock on CUDA, by the host's elsewhere."""
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def peak_bytes(call: Call, device: torch.device) -> int | None:
    """What a call allocates above what is there before it; None where it is not counted."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def measure(
    length: int, arguments: argparse.Namespace, form: Callable, device: torch.device
) -> dict[str, object]:
    """Median seconds and peak memory of both at one length."""
    rows = max(1, arguments.positions // length)
    shape = (rows, length, arguments.heads, arguments.head_width)
    dtype = DTYPES[arguments.dtype]
    calls = {"linear": linear(form, shape, dtype, device), "softmax": softmax(shape, dtype, device)}
    for call in calls.values():
        call()
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.repeats):
        for name, call in calls.items():
            times[name].append(seconds_of(call, device))
    found: dict[str, object] = {"length": length, "rows": rows}
    for name, call in calls.items():
        found[f"{name}_seconds"] = statistics.median(times[name])
        found[f"{name}_peak_bytes"] = peak_bytes(call, device)
    return found


def line(found: dict) -> str:
    """One length, for a person."""
    ours, theirs = found["linear_seconds"], found["softmax_seconds"]
    text = f"{found['length']:>7} {found['rows']:>5} {1e3 * ours:>10.3f} {1e3 * theirs:>10.3f} {theirs / ours:>7.2f}"
    if found["linear_peak_bytes"] is None:
        return text
    ours, theirs = found["linear_peak_bytes"] / 1e6, found["softmax_peak_bytes"] / 1e6
    return f"{text} {ours:>10.1f} {theirs:>10.1f} {theirs / ours:>7.2f}"


def parsed(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--positions", type=int, default=65_536, help="of all rows of a call")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-width", type=int, default=16)
    parser.add_argument("--dtype", choices=DTYPES, help="default: bf16 on CUDA, fp32 on a CPU")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    arguments.dtype = arguments.dtype or ("bf16" if arguments.device == "cuda" else "fp32")
    return arguments


def main(argv: list[str]) -> int:
    """Measure and print; 2 where there is no CUDA device and no other was asked for."""
    arguments = parsed(argv)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "no CUDA device here: nothing was measured. --device cpu measures the chunked form",
            file=sys.stderr,
        )
        return 2
    if device.type == "cuda":
        from grela.ops.triton.attention import triton_attention as form
    else:
        form = chunked
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    print(f"{name}, torch {torch.__version__}, {arguments.dtype}, form {form.__name__}")
    print("positions  rows   linear ms softmax ms   ratio  linear MB softmax MB   ratio")
    results = []
    for length in arguments.lengths:
        results.append(measure(length, arguments, form, device))
        print(line(results[-1]), flush=True)
    if arguments.json:
        settings = {k: v for k, v in vars(arguments).items() if k != "json"}
        report = {"device_name": name, "torch": torch.__version__, "form": form.__name__, **settings}
        arguments.json.write_text(
            json.dumps(report | {"results": results}, indent=2) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
