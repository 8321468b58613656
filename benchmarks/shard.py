"""A log in parts: processor time of each stage, in one process and on local Ray nodes, and what a fit holds in memory.

    python benchmarks/shard.py                                    # 10 million rows in 4 files, 8 parts, 5-core
    python benchmarks/shard.py --nodes 2                          # the same on two local nodes too (extra `ray`)

Rows are those of `prepare.py`. Seconds are of processor time, so that other work on the machine disturbs them little; a
Ray worker's are those it spends in parts. What a fit holds is measured in a process of its own, which opens the log,
splits it, plans the training, makes the model and cuts twenty steps, from the parts and from the whole log; anonymous
memory is what it cannot give back, the rest are pages of files.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from prepare import write_log

from grela.data.events import read_events
from grela.data.parts.shard import EventFiles, shard
from grela.data.preparation import Preparation, prepare
from grela.workers.protocol import OneProcess, Workers


def timed(part: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """A part's result and its processor seconds, all threads."""
    begun = time.process_time()
    result = part(*arguments)
    return result, time.process_time() - begun


class Timed:
    """Other workers, and the processor seconds of each stage."""

    def __init__(self, workers: Workers) -> None:
        self.workers, self.threads = workers, workers.threads
        self.seconds: dict[str, float] = defaultdict(float)

    def run(self, part: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        done = self.workers.run(timed, [(part, *one) for one in arguments])
        self.seconds[part.__name__] += sum(seconds for _, seconds in done)
        return [result for result, _ in done]


def sharded(log: Path, out: Path, workers: Workers, parts: int, core: int) -> dict[str, float]:
    """Processor seconds of each stage, and the wall's."""
    by_stage, begun = Timed(workers), time.monotonic()
    least = Preparation(min_user_events=core, min_item_events=core)
    shard(EventFiles.of(log), out, parts=parts, settings=least, workers=by_stage)
    return {**by_stage.seconds, "cpu": sum(by_stage.seconds.values()), "wall": time.monotonic() - begun}


def on_nodes(log: Path, out: Path, nodes: int, parts: int, core: int) -> dict[str, float]:
    """`sharded` on a cluster of local nodes of one core each."""
    from ray.cluster_utils import Cluster

    from grela.workers.on_ray import RayWorkers

    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    node = {"num_cpus": 1, "object_store_memory": 80 * 1024**2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(nodes - 1):
        cluster.add_node(**node)
    try:
        with RayWorkers(cluster.address) as workers:
            return sharded(log, out, workers, parts, core)
    finally:
        cluster.shutdown()


def held(events: Path, core: int) -> dict[str, float]:
    """What a fit does before and in its first steps: seconds to open the log, anonymous and largest memory in MB."""
    from grela.configuration import Config
    from grela.fitting import prepared, sized, training_plan, untrained

    least = Preparation(min_user_events=core, min_item_events=core)
    begun = time.process_time()
    histories, _, config = prepared(events, Config(preparation=least))
    opened = time.process_time() - begun
    split = config.split.apply(histories)
    config = sized(config, split)
    plan = training_plan(split, config)
    untrained(config, plan.sequences, histories.num_items)
    for _ in islice(plan.epoch(0), 20):
        pass
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = {
        name: int(status[key].split()[0]) / 1e3 for name, key in (("anonymous", "RssAnon"), ("peak", "VmHWM"))
    }
    return {"opened": opened, **memory, "events": histories.num_events, "fingerprint": split.fingerprint}


def held_in_a_process(events: Path, core: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--held", str(events), "--core", str(core)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--core", type=int, default=5)
    parser.add_argument("--nodes", type=int, help="also on so many local Ray nodes")
    parser.add_argument("--held", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    if asked.held:
        print(json.dumps(held(asked.held, asked.core)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = folder / "whole.parquet"
        write_log(whole, asked.rows, seed=1)
        (folder / "log").mkdir()
        table = pq.read_table(whole)
        size = -(-asked.rows // asked.files)
        for number in range(asked.files):
            pq.write_table(table.slice(number * size, size), folder / "log" / f"{number}.parquet")
        del table
        begun = time.process_time()
        least = Preparation(min_user_events=asked.core, min_item_events=asked.core)
        prepare(read_events(whole), least, folder=folder / "arrays")
        print(f"prepare, one log: {time.process_time() - begun:.1f} CPU s")
        for name, work in (("one process", None), (f"{asked.nodes} nodes", asked.nodes)):
            if work or name == "one process":
                to = folder / name
                stages = (
                    on_nodes(folder / "log", to, work, asked.parts, asked.core)
                    if work
                    else sharded(folder / "log", to, OneProcess(), asked.parts, asked.core)
                )
                print(name, {stage: round(seconds, 1) for stage, seconds in stages.items()}, flush=True)
        for events in (whole, folder / "one process"):
            print("a fit from", events.name, held_in_a_process(events, asked.core), flush=True)


if __name__ == "__main__":
    main()
