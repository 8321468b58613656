"""The approximate index on a trained run: how many of the exact 10 best it finds, and in what time.

    python benchmarks/approximate.py runs/ml-1m --items 0 100000 1000000 --json approximate.json
    python benchmarks/approximate.py runs/ml-1m --items 100000 --bare

Users of the run's test set ask, with all that their scores have. 0 items are the run's own; more are made of it:
each is one of the run's items, drawn evenly, whose embedding and bias are moved by noise of half their deviation.
Such a catalogue is
harder than a real one of its size: all of an item's copies compete. Exact lists are by `grela.serving.top_k`; both
are timed by the processor's time of one thread, in one process.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from grela import Recommender
from grela.models.new_items import ItemRows, rows_of, with_rows, without_added
from grela.models.recgrela import RecGRELA
from grela.ops.repeats import Met
from grela.serving.approximate import ApproximateIndex, lifted
from grela.serving.ranking import Candidates, TopList
from grela.serving.top_k import top_k

K = 10


def expanded(model: RecGRELA, items: int, noise: float, seed: int = 0) -> RecGRELA:
    """The model with items made of its own, up to so many."""
    model = without_added(model)
    more = items - model.config.num_items
    if more <= 0:
        return model
    rng = np.random.default_rng(seed)
    every = rows_of(model, np.arange(1, model.config.num_items + 1))
    drawn = rng.integers(0, len(every), more)
    embeddings = every.embeddings[drawn] + noise * every.embeddings.std() * rng.standard_normal(
        (more, model.config.width), dtype=np.float32
    )
    biases = every.biases[drawn] + noise * every.biases.std() * rng.standard_normal(more, dtype=np.float32)
    return with_rows(model, ItemRows(embeddings, biases))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and seconds of the processor."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


def recall(found: list[TopList], exact: list[TopList]) -> float:
    """The share of the exact lists that is found."""
    pairs = zip(found, exact, strict=True)
    return float(np.mean([len(np.intersect1d(a.items, b.items)) / len(b.items) for a, b in pairs]))


def measure(
    model: RecGRELA, hidden: torch.Tensor, met: Met, probes: list[int], *, filter_seen: bool
) -> list[dict[str, Any]]:
    """Recall and milliseconds a user of one catalogue, for each number of probes."""
    candidates = Candidates(np.ones(model.config.num_items, bool), filter_seen)
    users = len(hidden)
    exact, exact_seconds = timed(lambda: top_k(model, hidden, met, candidates, K))
    first = Met(*(column[met.position == 0] for column in met))
    one, seconds_of_one = timed(lambda: top_k(model, hidden[:1], first, candidates, K))
    assert one[0].items.tolist() == exact[0].items.tolist()
    index, build = timed(lambda: ApproximateIndex.of(model, probes=probes[0]))
    cases = []
    for number in probes:
        asked = ApproximateIndex(model, index.index, index.scale, index.length, index.sample, number)
        found, seconds = timed(lambda asked=asked: asked.top(hidden, met, candidates, K))
        cases.append(
            {
                "items": model.config.num_items,
                "probes": number,
                "lists": index.index.nlist,
                "recall@10": recall(found, exact),
                "ms": 1e3 * seconds / users,
                "exact_ms": 1e3 * exact_seconds / users,
                "exact_ms_alone": 1e3 * seconds_of_one,
                "build_seconds": build,
            }
        )
    return cases


def bare(model: RecGRELA, hidden: torch.Tensor) -> list[str]:
    """Lines on the index alone, lists and graph: the share of the 10 largest logits of a class among the 40 found."""
    biases = np.zeros(model.config.num_items, np.float32)
    if model.item_bias is not None:
        biases = model.item_bias.of_items.detach().numpy()
    weights = model.item_weights.detach().numpy()
    scale = float(np.sqrt(biases.std() / weights.std()))
    vectors, length = lifted(weights, biases, scale)
    queries = np.zeros((len(hidden), vectors.shape[1]), np.float32)
    queries[:, :-2], queries[:, -2] = hidden.numpy(), scale
    queries *= length / np.linalg.norm(queries, axis=1, keepdims=True)
    best = np.argsort(-(hidden.numpy() @ weights.T + biases), 1)[:, :K]
    graph, graph_seconds = timed(lambda: _graph(vectors))
    lists, list_seconds = timed(lambda: ApproximateIndex.of(model).index)
    lines = []
    for name, index, settings, seconds in (
        ("lists", lists, [(p, faiss.SearchParametersIVF(nprobe=p)) for p in (32, 64, 128)], list_seconds),
        (
            "graph",
            graph,
            [(e, faiss.SearchParametersHNSW(efSearch=e)) for e in (64, 128, 256)],
            graph_seconds,
        ),
    ):
        for number, chosen in settings:
            (_, places), taken = timed(
                lambda index=index, chosen=chosen: index.search(queries, 40, params=chosen)
            )
            share = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(places, best, strict=True)])
            lines.append(
                f"{len(vectors):>9,} items, {name} {number:>3}: {share:.3f} of the 10 best among 40, "
                f"{1e3 * taken / len(queries):.2f} ms a query; built in {seconds:.0f} s"
            )
    return lines


def _graph(vectors: np.ndarray) -> Any:
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32)
    index.hnsw.efConstruction = 80
    index.add(vectors)
    return index


def main() -> int:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--items", nargs="+", type=int, default=[0, 100_000, 1_000_000])
    parser.add_argument("--probes", nargs="+", type=int, default=[32, 128, 512])
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument(
        "--noise", type=float, default=0.5, help="of made-up items, as a share of the deviation"
    )
    parser.add_argument("--bare", action="store_true", help="the index alone, beside a graph, instead")
    parser.add_argument("--filter-seen", action="store_true")
    parser.add_argument("--json", type=Path, help="file to write")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    run = Recommender.load(asked.run, device="cpu")
    cases = run.split.cases("test")
    chosen = cases.take(np.linspace(0, len(cases) - 1, asked.users).astype(int)).batch
    hidden, met = run.scorer.hidden(chosen), run.scorer.met(chosen)
    found = []
    for items in asked.items:
        if asked.bare:
            print(*bare(expanded(run.model, items, asked.noise), hidden), sep="\n", flush=True)
            continue
        for case in measure(
            expanded(run.model, items, asked.noise), hidden, met, asked.probes, filter_seen=asked.filter_seen
        ):
            found.append(case)
            print(
                f"{case['items']:>9,} items, {case['probes']:>4} of {case['lists']:,} lists: recall@10 "
                f"{case['recall@10']:.3f}, {case['ms']:6.2f} ms a user; exact {case['exact_ms']:6.2f}, alone "
                f"{case['exact_ms_alone']:6.2f}; built in {case['build_seconds']:.0f} s",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps({"cases": found, "torch": torch.__version__}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
