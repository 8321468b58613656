"""A small log in which the next item is nearly certain, and settings that train on it in no time."""

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.torch import load_file

from grela import Config, Recommender
from grela.configuration import config_from

USERS, ITEMS, LENGTH = 30, 20, 12
FIRST_USER, FIRST_ITEM = 100, 500
MODEL = {"width": 8, "heads": 2, "layers": 1}
TRAINING = {"epochs": 2, "batch_positions": 128, "window": 16, "warmup_steps": 2, "precision": "fp32"}


def log(*, users: int = USERS, length: int = LENGTH, seed: int = 0) -> pl.DataFrame:
    """Each user counts through the items from a random one, with a jump now and then; integer ids, times in seconds."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((users, length)) < 0.1, 3, 1)
    items = (rng.integers(ITEMS, size=(users, 1)) + np.cumsum(steps, axis=1)) % ITEMS
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(FIRST_USER, FIRST_USER + users), length),
            "item_id": FIRST_ITEM + items.ravel(),
            "timestamp": 1_700_000_000 + 86_400 * np.tile(np.arange(length), users),
        }
    )


def small_config(**tables) -> Config:
    """Settings of a fit that takes well under a second; `tables` add to them."""
    given = {"model": MODEL, "training": TRAINING}
    return config_from({name: given.get(name, {}) | tables.get(name, {}) for name in (*given, *tables)})


@cache
def fitted() -> Recommender:
    """One recommender for all tests that only read it."""
    return Recommender.fit(
        log(), config=small_config(), titles={500: "Five hundred", 503: "Müller, Lüdenscheid"}
    )


def weights(recommender: Recommender) -> dict:
    return recommender.model.state_dict()


def saved_weights(folder) -> dict:
    return load_file(folder / "model.safetensors")


class Ear:
    """Remembers what a fit tells."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.epochs = 0

    def step(self, report) -> None:
        pass

    def epoch(self, report) -> None:
        self.epochs += 1

    def notice(self, message: str) -> None:
        self.notices.append(message)


def history_of(user: int) -> list[int]:
    return log().filter(pl.col("user_id") == user)["item_id"].to_list()


def times_of(user: int) -> list[int]:
    return log().filter(pl.col("user_id") == user)["timestamp"].to_list()


def items(recommendation) -> list:
    return [one.item for one in recommendation.items]


def dated_log() -> pl.DataFrame:
    """Users 100 to 129 act daily from 1 May on, user 7 on 2 May only, user 8 on 11 and 12 May only."""
    start = datetime(2024, 5, 1)
    daily = log().with_columns(timestamp=start + pl.duration(seconds=pl.col("timestamp") - 1_700_000_000))
    some = [(7, 500, 1), (7, 501, 1), (8, 500, 10), (8, 501, 11)]
    extra = pl.DataFrame(
        [(user, item, start + timedelta(days=day)) for user, item, day in some], daily.schema, orient="row"
    )
    return pl.concat([daily, extra])


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
