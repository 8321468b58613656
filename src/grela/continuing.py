"""Starting a fit from another run: whose events go on, whose weights begin, and what its training has already seen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grela.data.splitting import Split
from grela.errors import ConfigError

# U users


@dataclass(frozen=True)
class Parent:
    """The run that a fit started from: its folder as it was given, its split's fingerprint, its weights' SHA-256.

    `items` is the digest of its item_changes.safetensors, None where it has none.
    """

    run: str
    fingerprint: str
    weights: str
    items: str | None

    def same(self, other: "Parent | None") -> bool:
        """Whether it is the same run, wherever it lies."""
        return other is not None and (self.fingerprint, self.weights, self.items) == (
            *(other.fingerprint, other.weights),
            other.items,
        )


def trained_on_already(parent: Split, split: Split) -> tuple[int, int]:
    """How many users' validation and test events the parent was trained on.

    The parent's events are all in `split`, in the same order, and come before new ones of the same time.
    """
    of_user = split.histories.users.encode(parent.histories.users.ids.to_pylist())
    valid = test = 0
    for u in np.flatnonzero((parent.train_end > 0) & (of_user >= 0)).tolist():
        now, count = int(of_user[u]), int(parent.train_end[u])
        before, times = parent.histories.times_of(u), split.histories.times_of(now)
        time = before[count - 1]
        earlier = np.searchsorted(times, time) - np.searchsorted(before, time)
        place = count - 1 + int(earlier)
        test += place >= split.valid_end[now] and split.valid_end[now] < split.test_end[now]
        valid += split.train_end[now] <= place < split.valid_end[now]
    return valid, test


def must_not_test_the_known(parent: Split, split: Split, run: Path) -> list[str]:
    """What is to be said of held-out events that the parent was trained on; ConfigError where dates could avoid it."""
    valid, test = trained_on_already(parent, split)
    if not (valid or test):
        return []
    found = (
        f"{run} was trained on held-out events: on the validation events of {valid:,} users, "
        f"the test events of {test:,}"
    )
    if split.kind == "temporal":
        raise ConfigError(f"{found}; let validation begin later than it did there (valid_from, test_from)")
    return [f"{found}, who had fewer than 3 events then; their part of the evaluation is not to be trusted"]
