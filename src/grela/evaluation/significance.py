"""Every pair of several models on the same users: differences, intervals, p-values corrected for their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from grela.errors import RequestError
from grela.evaluation.intervals import LEVEL, resampled_users, sign_flips

# M models, C users, R resamples


@dataclass(frozen=True)
class Pair:
    """Mean of a - b over the users, its 95 % bootstrap interval, the permutation p-value, and Holm's of all pairs."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float


def all_pairs(
    values: Mapping[str, np.ndarray],
    *,
    against: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Pair]:
    """Compare per-user values, float64 [C] by model, each with each; entry c of all must be the same user.

    With `against`, one of the models, each other one is compared with it alone.

    Users are resampled for the intervals, and signs of differences flipped for the two-sided p-values (as
    `paired_difference` does), alike for all pairs. The correction is Holm's (Scandinavian J. of Statistics, 1979): the
    chance that any of the pairs is called different by mistake stays below the level.
    """
    names, values_MC = list(values), [np.asarray(found, np.float64) for found in values.values()]
    if len({found.shape for found in values_MC}) > 1 or any(found.ndim != 1 for found in values_MC):
        shapes = ", ".join(f"{name} {found.shape}" for name, found in values.items())
        raise RequestError(f"models were measured on different users: {shapes}; expected one value a user")
    pairs = list(combinations(range(len(names)), 2))
    if against is not None:
        base = names.index(against)
        pairs = [(other, base) for other in range(len(names)) if other != base]
    if not pairs:
        return []
    differences_CP = np.stack([values_MC[a] - values_MC[b] for a, b in pairs], 1)
    means = differences_CP.mean(0)
    users = len(differences_CP)
    spread_RP = np.concatenate(
        [weights_RC @ differences_CP / users for weights_RC in resampled_users(users, resamples, seed)]
    )
    low, high = np.quantile(spread_RP, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    # Sums of the same values in another order differ in the last bits; equal ones must count as equal.
    observed = np.abs(differences_CP.sum(0)) - 1e-12 * np.abs(differences_CP).sum(0)
    extreme = np.zeros(len(pairs), np.int64)
    for signs_RC in sign_flips(users, resamples, seed):
        extreme += (np.abs(signs_RC @ differences_CP) >= observed).sum(0)
    p_values = (1 + extreme) / (1 + resamples)
    corrected = holm(p_values.tolist())
    return [
        Pair(
            names[a],
            names[b],
            float(means[j]),
            float(low[j]),
            float(high[j]),
            float(p_values[j]),
            corrected[j],
        )
        for j, (a, b) in enumerate(pairs)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values multiplied step by step: the smallest by their number, the next by one less ... Order is kept."""
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for step, j in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[j]))
        corrected[j] = highest
    return corrected
