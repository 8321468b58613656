"""Bootstrap intervals over users, and paired comparison of two models on the same users.

A statistic is a ratio of sums over users, `numerator.sum() / denominator.sum()`; a mean is the one whose
denominator is 1 for each user.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from grela.errors import ConfigError, RequestError

# C users, R resamples, M columns

LEVEL = 0.95
WEIGHTS_BYTES = 32_000_000

Interval = tuple[float, float]
Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Ratio:
    """Per-user numerators and denominators, float64 [C] each; NaN as a whole if the denominators sum to 0."""

    numerator: np.ndarray
    denominator: np.ndarray

    @staticmethod
    def mean(values: np.ndarray) -> "Ratio":
        """The mean over all users."""
        return Ratio(values, np.ones(len(values)))

    @property
    def value(self) -> float:
        """The statistic itself."""
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if total else float("nan")


def bootstrap(per_user_values: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """The 95 % percentile bootstrap interval of a mean over users, values [C] (Efron 1979)."""
    return intervals({"mean": Ratio.mean(per_user_values)}, resamples=resamples, seed=seed)["mean"]


def intervals(statistics: Mapping[Key, Ratio], *, resamples: int, seed: int) -> dict[Key, Interval]:
    """The 95 % percentile bootstrap interval of each statistic; all share the same resampled users."""
    columns_CM = np.stack([c for s in statistics.values() for c in (s.numerator, s.denominator)], axis=1)
    weights = resampled_users(len(columns_CM), resamples, seed)
    sums_RM = np.concatenate([weights_RC @ columns_CM for weights_RC in weights])
    numerators, denominators = sums_RM[:, 0::2], sums_RM[:, 1::2]
    found = {}
    for j, name in enumerate(statistics):
        defined = denominators[:, j] != 0
        found[name] = _percentiles(numerators[defined, j] / denominators[defined, j])
    return found


def _percentiles(samples: np.ndarray) -> Interval:
    if not samples.size:
        return float("nan"), float("nan")
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resampled_users(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user was drawn, float64 [r, C] at a time, R rows in all."""
    if resamples < 1 or users < 1:
        raise ConfigError(f"{resamples} resamples of {users} users: both must be at least 1")
    rng = np.random.default_rng(seed)
    for rows in _row_blocks(resamples, users):
        weights = np.empty((rows, users))
        for row in weights:
            row[:] = np.bincount(rng.integers(users, size=users), minlength=users)
        yield weights


def _row_blocks(resamples: int, users: int) -> Iterator[int]:
    size = max(1, WEIGHTS_BYTES // (8 * users))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over the same users, its 95 % paired bootstrap interval, and a permutation p-value.

    `p_value` is two-sided, under the hypothesis that the two models are exchangeable for every user.
    """

    difference: float
    low: float
    high: float
    p_value: float
    users: int


def paired_difference(
    a: np.ndarray, b: np.ndarray, *, resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Compare per-user values [C] of two models; entry c of both must be the same user.

    The interval resamples users; the p-value flips the sign of each user's difference at random:
    (1 + number of flips at least as far from 0) / (1 + flips), as Smucker et al. 2007 advise for retrieval.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise RequestError(
            f"paired values have shapes {a.shape} and {b.shape}, expected the same users in both, [C]"
        )
    difference = a - b
    low, high = bootstrap(difference, resamples=resamples, seed=seed)
    p_value = _sign_flip_p_value(difference, resamples, seed)
    return PairedDifference(float(difference.mean()), low, high, p_value, len(difference))


def _sign_flip_p_value(difference: np.ndarray, flips: int, seed: int) -> float:
    nonzero = difference[difference != 0]
    if not nonzero.size:
        return 1.0
    # Sums of the same values in another order differ in the last bits; equal ones must count as equal.
    observed = abs(nonzero.sum()) - 1e-12 * np.abs(nonzero).sum()
    extreme = 0
    for signs_RC in sign_flips(nonzero.size, flips, seed):
        extreme += int(np.count_nonzero(np.abs(signs_RC @ nonzero) >= observed))
    return (1 + extreme) / (1 + flips)


def sign_flips(users: int, flips: int, seed: int) -> Iterator[np.ndarray]:
    """Random signs, float64 [r, C] at a time, R rows in all."""
    rng = np.random.default_rng(seed)
    for rows in _row_blocks(flips, users):
        yield rng.integers(0, 2, size=(rows, users), dtype=np.int8) * 2.0 - 1.0
