"""Who is steady and who is bursty, and how two groups of users differ. Arithmetic only.

Burstiness is of the times r between a user's events, m of them, by their mean and standard deviation:

    r = s / mean;   A = (sqrt(m + 1) r - sqrt(m - 1)) / ((sqrt(m + 1) - 2) r + sqrt(m - 1))

Kim and Jo's (Phys. Rev. E 94, 032311, 2016, arXiv 1604.01125), which is Goh and Barabasi's B = (s - mean) / (s + mean)
(EPL 81, 48002, 2008) for m to infinity, freed of what B owes to the number of events: -1 for even gaps, about 0 for
events that know nothing of one another, 1 where a single gap holds all the time, whatever m.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from grela.evaluation.intervals import LEVEL, resampled_users

# U users, M measures

RESAMPLES = 10_000


def burstiness(times: np.ndarray) -> float:
    """A of the gaps between times in order; NaN for fewer than two gaps, or where no time passes."""
    gaps = np.diff(times.astype(np.float64))
    m = len(gaps)
    if m < 2 or not gaps.sum() > 0:
        return float("nan")
    r = gaps.std() / gaps.mean()
    up, down = np.sqrt(m + 1), np.sqrt(m - 1)
    return float((up * r - down) / ((up - 2) * r + down))


@dataclass(frozen=True)
class Groups:
    """Places of the least and of the most bursty users among some, int64, ascending."""

    steady: np.ndarray
    bursty: np.ndarray


def terciles(values: np.ndarray) -> Groups:
    """The users with the lowest and with the highest third of values [U]; the first comes first at a tie."""
    order = np.argsort(values, kind="stable")
    third = len(values) // 3
    return Groups(np.sort(order[:third]), np.sort(order[len(order) - third :]))


def matched_terciles(values: np.ndarray, lengths: np.ndarray, strata: int) -> Groups:
    """Terciles within each of `strata` equal parts of the users by length, so that both groups are equally long."""
    by_length = np.argsort(lengths, kind="stable")
    steady, bursty = [], []
    for part in np.array_split(by_length, strata):
        inside = terciles(values[part])
        steady.append(part[inside.steady])
        bursty.append(part[inside.bursty])
    return Groups(np.sort(np.concatenate(steady)), np.sort(np.concatenate(bursty)))


@dataclass(frozen=True)
class Estimate:
    """A value and its interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval is above or below 0; else 0."""
        return int(self.low > 0) - int(self.high < 0)


def means(values: np.ndarray, *, seed: int) -> list[Estimate]:
    """The mean of each column of [U, M] over users, with intervals that hold together: see `together`."""
    samples = np.concatenate(list(_resampled(values, seed)))
    return together(values.mean(0), samples)


def differences(values: np.ndarray, groups: Groups, *, seed: int) -> list[Estimate]:
    """Mean of the bursty less that of the steady, by column of [U, M]; each group is resampled by itself."""
    steady, bursty = values[groups.steady], values[groups.bursty]
    samples = np.concatenate(list(_resampled(bursty, seed))) - np.concatenate(
        list(_resampled(steady, seed + 1))
    )
    return together(bursty.mean(0) - steady.mean(0), samples)


def together(values: np.ndarray, samples: np.ndarray) -> list[Estimate]:
    """Percentile bootstrap intervals of [M] from samples [R, M]; all of them hold with 95 % (Bonferroni)."""
    tail = (1 - LEVEL) / 2 / max(1, len(values))
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return [Estimate(*of) for of in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)]


def standardised(values: np.ndarray) -> np.ndarray:
    """Each column of [U, M] in units of its standard deviation over users; a column that does not vary stays 0."""
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 0, spread, 1)


def _resampled(values: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    for weights in resampled_users(len(values), RESAMPLES, seed):
        yield weights @ values / len(values)
