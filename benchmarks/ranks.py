"""Do ranks scale as threads do? One thread, two threads of one process, and two ranks of one thread each.

    python benchmarks/ranks.py
    python benchmarks/ranks.py --loss sampled_softmax --items 1000000

All take the same steps of the default model (the weights come out the same, bit for bit), in turns. Printed
are events a second, and each way's as a multiple of one thread's in the same round: median (low to high) of `--rounds`.
Nothing else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import islice

import torch
from synthetic import ML_1M_ITEMS, gaps, histories

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.training.config import TrainingConfig
from grela.training.listener import Silence
from grela.training.loop import Training
from grela.training.sequences import TrainingSequences
from grela.training.torchrun import ranks_of_torchrun
from grela.training.windows import WindowPlan

WARM_UP_STEPS = 4
USERS = 4_000
# Ranks (0: without torchrun) and threads of each.
WAYS = {"one thread": (0, 1), "two threads": (0, 2), "two ranks": (2, 1)}


def work(items: int, loss: str, steps: int, threads: int) -> None:
    """Train and print events a second, as the first rank where there are ranks."""
    torch.set_num_threads(threads)
    config = TrainingConfig(batch_positions=6_400, loss=loss, epochs=1)
    log, start, end = histories(0, users=USERS, items=items)
    plan = WindowPlan(
        TrainingSequences(log, start, end, gaps(1, len(log))), config.window, config.batch_positions, 0
    )
    model = RecGRELA(RecGRELAConfig(num_items=items), rng=torch.Generator().manual_seed(0))
    with ranks_of_torchrun("cpu") as ranks:
        training = Training(model, plan, config, folder=None, validate=None, listener=Silence(), ranks=ranks)
        todo = islice(plan.epoch(0), WARM_UP_STEPS + steps)
        for step in islice(todo, WARM_UP_STEPS):
            training.one_step(step)
        before, events = time.perf_counter(), 0
        for step in todo:
            training.one_step(step)
            events += step.events
        if ranks.first:
            print(json.dumps(events / (time.perf_counter() - before)))


def rate(way: str, arguments: argparse.Namespace) -> float:
    """Events a second of one way, in processes of its own."""
    ranks, threads = WAYS[way]
    task = json.dumps([arguments.items, arguments.loss, arguments.steps, threads])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command = [sys.executable, *(launcher if ranks else []), __file__, "--work", task]
    environ = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    return float(done.stdout)


def main() -> None:
    """Measure all ways in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=ML_1M_ITEMS)
    parser.add_argument("--loss", default="softmax")
    parser.add_argument("--steps", type=int, default=40, help="measured steps of 6,400 positions")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*json.loads(arguments.work))
        return
    rounds = [{way: rate(way, arguments) for way in WAYS} for _ in range(arguments.rounds)]
    print(f"torch {torch.__version__}, {arguments.items:,} items, {arguments.loss}")
    for way in WAYS:
        multiples = sorted(found[way] / found["one thread"] for found in rounds)
        middle, low, high = statistics.median(multiples), multiples[0], multiples[-1]
        events = statistics.median(found[way] for found in rounds)
        print(f"{way:12} {events:10,.0f} events/s  {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
