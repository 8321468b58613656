"""Small splits of made-up histories."""

import numpy as np
import pyarrow as pa

from grela.data.histories import Histories
from grela.data.splitting import Split
from grela.data.vocabulary import Vocabulary


def make_split(
    train: list[list[int]],
    *,
    num_items: int,
    held_out: list[list[int]] | None = None,
    times: list[list[float]] | None = None,
) -> Split:
    """User u trains with `train[u]`; of `held_out[u]` the first validates and the rest tests.

    times: of each user's training events; those held out are ten years later. Without any, events count upwards.
    """
    held_out = held_out or [[] for _ in train]
    items = [np.array(t + h, np.int32) for t, h in zip(train, held_out, strict=True)]
    lengths = np.array([len(i) for i in items], np.int64)
    trained = np.array([len(t) for t in train], np.int64)
    if times is None:
        at = np.arange(lengths.sum())
    else:
        at = np.concatenate([np.array(t + [1e9] * len(h)) for t, h in zip(times, held_out, strict=True)])
    histories = Histories(
        items=np.concatenate(items),
        times=at,
        offsets=np.concatenate(([0], np.cumsum(lengths))),
        users=Vocabulary(pa.array([f"u{u}" for u in range(len(train))]), 0),
        catalogue=Vocabulary(pa.array(range(101, 101 + num_items), pa.int64()), 1),
    )
    return Split(histories, "made up", trained, np.minimum(trained + 1, lengths), lengths)


def random_split(rng: np.random.Generator, *, users: int, num_items: int, longest: int) -> Split:
    """Histories of 0 to `longest` training events with repetitions, and two events held out."""
    train = [rng.integers(1, num_items + 1, rng.integers(0, longest + 1)).tolist() for _ in range(users)]
    held_out = [rng.integers(1, num_items + 1, 2).tolist() for _ in range(users)]
    times = [np.sort(rng.random(len(t)) * 1000).tolist() for t in train]
    return make_split(train, num_items=num_items, held_out=held_out, times=times)


def training_lists(split: Split) -> list[list[int]]:
    """Each user's training events."""
    return [split.histories[u][:end].tolist() for u, end in enumerate(split.train_end)]
