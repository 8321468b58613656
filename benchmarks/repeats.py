"""Are repeats recalled where people repeat, by the model that suppresses them where nobody does?

    python benchmarks/repeats.py --json repeats.json

Two made-up logs: in one half of the events go back to an item of the user's own history, the more recent the likelier;
in the other nobody meets an item twice. Both are fitted with the default model, and without its bias on items of the
history; beside them rank popularity and the user's own most frequent items.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from grela import Config, Recommender
from grela.data.histories import HistoryBatch
from grela.evaluation.evaluate import evaluate
from grela.evaluation.evaluation import Evaluation
from grela.training.config import TrainingConfig

USERS, ITEMS, EVENTS = 1_000, 500, 60


class OwnCounts:
    """A `Scorer`: how often the history holds the item, and popularity far behind."""

    def __init__(self, counts: np.ndarray) -> None:
        self.popularity = counts[1:] / (1 + counts.sum())

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.popularity)

    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """float64 [B, N]."""
        own = [np.bincount(batch[b], minlength=self.num_items + 1)[1:] for b in range(len(batch))]
        return np.stack(own) + self.popularity


def made_up(share_of_repeats: float, seed: int) -> pd.DataFrame:
    """A new item is one of ten that tend to follow the last, or popular; a repeat is drawn by 1 / (events ago)."""
    rng = np.random.default_rng(seed)
    follow = rng.integers(1, ITEMS + 1, (ITEMS + 1, 10))
    popular = 1 / np.arange(1, ITEMS + 1)
    popular /= popular.sum()
    rows = []
    for user in range(USERS):
        history: list[int] = [int(rng.integers(1, ITEMS + 1))]
        while len(history) < EVENTS:
            if rng.random() < share_of_repeats:
                ago = 1 / np.arange(1, len(history) + 1)
                item = history[-1 - int(rng.choice(len(history), p=ago / ago.sum()))]
            else:
                near = int(rng.choice(follow[history[-1]]))
                item = near if rng.random() < 0.7 else int(rng.choice(ITEMS, p=popular)) + 1
                if item in history:
                    continue
            history.append(item)
        times = np.cumsum(rng.integers(0, 100_000, EVENTS))
        rows.append(pd.DataFrame({"user": user, "item": history, "time": times}))
    return pd.concat(rows)


def figures(found: Evaluation) -> dict[str, object]:
    """NDCG@10 of both views, with the unfiltered one's interval."""
    return {
        "not filtered": found.unfiltered["ndcg@10"],
        "interval": list(found.intervals["unfiltered"]["ndcg@10"]),
        "filtered": found.filtered["ndcg@10"],
    }


def measured(log: pd.DataFrame, epochs: int, seed: int) -> dict[str, dict[str, object]]:
    """Test figures of each way to rank."""
    config = Config(training=TrainingConfig(epochs=epochs, seed=seed))
    default = Recommender.fit(log, config=config)
    without = Recommender.fit(log, config=replace(config, model=replace(config.model, repeats=False)))
    cases, counts = default.split.cases("test"), default.train_counts
    return {
        "default": figures(default.evaluate()),
        "without the bias for repeats": figures(without.evaluate()),
        "the user's own most frequent": figures(evaluate(OwnCounts(counts), cases, train_counts=counts)),
        "popularity": figures(default.evaluate_popularity()),
    }


def main() -> None:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = {
        name: measured(made_up(share, arguments.seed), arguments.epochs, arguments.seed)
        for name, share in (("half of the events repeat", 0.5), ("nobody repeats", 0.0))
    }
    for name, ways in result.items():
        print(name)
        for way, found in ways.items():
            print(f"  {way:32} {found['not filtered']:.4f} not filtered  {found['filtered']:.4f} filtered")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
