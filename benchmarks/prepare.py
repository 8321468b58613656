"""Events to histories, out of core: rows per second and peak memory, beside an in-memory sort of the same file.

    python benchmarks/prepare.py                                   # 20 million rows, 300 MB
    python benchmarks/prepare.py --rows 100000000 --without-baseline --json prepare.json

Each run is a process of its own. Peak memory is that process's largest resident set (`ru_maxrss`), imports
included. Linux hands a parent's peak on to its children, so the rows are made in a process of their own too.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 1 << 16
SCHEMA = pa.schema([(name, pa.int64()) for name in ("user", "item", "time")])


def write_log(path: Path, rows: int, seed: int) -> None:
    """Shuffled rows: 200 events a user on average, log-normally spread; Zipf items; seconds with ties."""
    rng = np.random.default_rng(seed)
    users, items = max(1, rows // 200), max(10, min(1_000_000, rows // 100))
    of_user = np.cumsum(rng.lognormal(0.0, 1.0, users))
    of_item = np.cumsum(1.0 / np.arange(1, items + 1) ** 1.1)
    raw_item = rng.permutation(items) * 7 + 11
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for start in range(0, rows, 1 << 20):
            size = min(1 << 20, rows - start)
            user = np.searchsorted(of_user, rng.random(size) * of_user[-1])
            item = raw_item[np.searchsorted(of_item, rng.random(size) * of_item[-1])]
            seconds = rng.integers(1_500_000_000, 1_510_000_000, size)
            writer.write_table(pa.table([user * 3 + 5, item, seconds], schema=SCHEMA))


def out_of_core(log: Path, folder: Path, core: int, memory_limit: str) -> dict[str, object]:
    """What `grela` does, arrays memory-mapped in `folder`; the file is read by pyarrow in small batches."""
    from grela.data.events import Events
    from grela.data.preparation import Preparation, prepare

    def batches() -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(log, pre_buffer=False) as file:
            yield from file.iter_batches(BATCH_ROWS)

    events = Events(log.name, SCHEMA, "given", batches)
    settings = Preparation(min_user_events=core, min_item_events=core, memory_limit=memory_limit)
    histories, report = prepare(events, settings, folder=folder)
    return {
        "events": histories.num_events,
        "users": len(histories),
        "items": histories.num_items,
        "result_bytes": histories.items.nbytes + histories.times.nbytes + histories.offsets.nbytes,
        "checksum": checksum(histories.items, histories.offsets),
        "steps": report.lines(),
    }


def in_memory(log: Path, folder: Path, core: int, memory_limit: str) -> dict[str, object]:
    """The plain way: the table in memory, np.unique, the same k-core with np.bincount, np.lexsort."""
    table = pq.read_table(log)
    users, user = np.unique(table.column("user").to_numpy(), return_inverse=True)
    items, item = np.unique(table.column("item").to_numpy(), return_inverse=True)
    seconds = table.column("time").to_numpy()
    while True:
        kept = (np.bincount(user, minlength=len(users))[user] >= core) & (
            np.bincount(item, minlength=len(items))[item] >= core
        )
        if kept.all():
            break
        user, item, seconds = user[kept], item[kept], seconds[kept]
    order = np.lexsort((seconds, user))  # stable: ties stay in the order of rows
    users, lengths = np.unique(user, return_counts=True)
    catalogue, dense = np.unique(item, return_inverse=True)
    sorted_items = (dense[order] + 1).astype(np.int32)
    sorted_times = seconds[order]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return {
        "events": len(order),
        "users": len(users),
        "items": len(catalogue),
        "result_bytes": sorted_items.nbytes + sorted_times.nbytes + offsets.nbytes,
        "checksum": checksum(sorted_items, offsets),
        "steps": [],
    }


def checksum(items: np.ndarray, offsets: np.ndarray) -> int:
    """Depends on every item's place; both ways must give the same."""
    total = 0
    for start in range(0, len(items), 1 << 20):
        block = items[start : start + (1 << 20)].astype(np.uint64)
        total += int((block * np.arange(start + 1, start + 1 + len(block), dtype=np.uint64)).sum())
    return (total + int((offsets % 1_000_003).sum())) % 2**64


ENGINES = {"grela": out_of_core, "numpy": in_memory}


def child(arguments: argparse.Namespace) -> None:
    """One part, in this process: make the rows, or run an engine and print its result as JSON."""
    if arguments.engine == "rows":
        write_log(Path(arguments.log), arguments.rows, arguments.seed)
        return
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    result = ENGINES[arguments.engine](
        Path(arguments.log), Path(arguments.folder), arguments.core, arguments.memory_limit
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    result |= {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
        "imports_bytes": imported * 1024,
    }
    print(json.dumps(result))


def spawn(engine: str, log: Path, folder: Path, arguments: argparse.Namespace) -> str:
    command = [sys.executable, __file__, "--engine", engine, "--log", str(log), "--folder", str(folder)]
    for name in ("rows", "core", "memory_limit", "seed"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(engine: str, log: Path, arguments: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=log.parent) as folder:
        result: dict[str, object] = json.loads(spawn(engine, log, Path(folder), arguments))
    return result | {"engine": engine, "rows_per_second": arguments.rows / float(str(result["seconds"]))}


def show(results: list[dict[str, object]], rows: int) -> None:
    raw = rows * 3 * 8
    print(f"{rows:,} rows, {raw / 1e6:,.0f} MB as three 8-byte columns in memory")
    print("| way | seconds | CPU seconds | rows/s | peak memory MB | of the rows in memory | result MB |")
    print("|---|---|---|---|---|---|---|")
    for r in results:
        peak = float(str(r["peak_bytes"]))
        print(
            f"| {r['engine']} | {r['seconds']:.1f} | {r['cpu_seconds']:.1f} | {r['rows_per_second']:,.0f} "
            f"| {peak / 1e6:,.0f} | {peak / raw:.2f} | {int(str(r['result_bytes'])) / 1e6:,.0f} |"
        )
    if len(results) == 1:
        return
    ours, plain = results
    seconds, peak = (float(str(ours[k])) / float(str(plain[k])) for k in ("seconds", "peak_bytes"))
    print(f"grela / numpy: {seconds:.2f} of the time, {peak:.2f} of the memory")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--core", type=int, default=5, help="k-core of users and items; 1 keeps all")
    parser.add_argument("--memory-limit", default="300MB", help="for grela's database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--without-baseline", action="store_true", help="for logs that memory cannot hold")
    parser.add_argument("--engine", choices=[*ENGINES, "rows"], help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "events.parquet"
        spawn("rows", log, log.parent, arguments)
        engines = ["grela"] if arguments.without_baseline else list(ENGINES)
        results = [run(engine, log, arguments) for engine in engines]
    same = {(r["checksum"], r["events"], r["users"], r["items"]) for r in results}
    if len(same) != 1:
        sys.exit(f"the two ways disagree: {same}")
    show(results, arguments.rows)
    if arguments.json:
        machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
        settings = {k: getattr(arguments, k) for k in ("rows", "core", "memory_limit", "seed")}
        arguments.json.write_text(json.dumps({**machine, **settings, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
