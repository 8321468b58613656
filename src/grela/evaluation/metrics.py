"""Metrics of accuracy: short functions of ranks, each giving one value per user, float64 [C].

In every formula, R is the set of a user's distinct targets and rank(i) the 1-based rank of target i among
all candidates, infinite for a target that cannot be recommended. A metric is the mean over users.
"""

import numpy as np

from grela.evaluation.ranks import Ranks


def hit_rate(ranks: Ranks, k: int) -> np.ndarray:
    """HR@k = 1 if any target has rank <= k, else 0."""
    return np.where(ranks.best <= k, 1.0, 0.0)


def recall(ranks: Ranks, k: int) -> np.ndarray:
    """Recall@k = |{i in R: rank(i) <= k}| / |R|. With one target it equals HR@k."""
    share: np.ndarray = ranks.sums(ranks.values <= k) / ranks.targets
    return share


def precision(ranks: Ranks, k: int) -> np.ndarray:
    """Precision@k = |{i in R: rank(i) <= k}| / k. With one target it cannot exceed 1 / k."""
    return ranks.sums(ranks.values <= k) / k


def reciprocal_rank(ranks: Ranks) -> np.ndarray:
    """RR = 1 / min rank(i); its mean over users is MRR."""
    return 1.0 / ranks.best


def reciprocal_rank_at(ranks: Ranks, k: int) -> np.ndarray:
    """RR@k = 1 / min rank(i) if that is <= k, else 0."""
    return np.where(ranks.best <= k, 1.0 / ranks.best, 0.0)


def ndcg(ranks: Ranks, k: int) -> np.ndarray:
    """NDCG@k = DCG@k / IDCG@k with DCG@k = sum over i in R, rank(i) <= k, of 1 / log2(1 + rank(i)) and
    IDCG@k = sum over r = 1..min(k, |R|) of 1 / log2(1 + r) (Järvelin and Kekäläinen 2002, binary gains).
    """
    gains = np.where(ranks.values <= k, 1.0 / np.log2(1.0 + ranks.values), 0.0)
    ideal = np.cumsum(1.0 / np.log2(1.0 + np.arange(1, k + 1)))
    values: np.ndarray = ranks.sums(gains) / ideal[np.minimum(k, ranks.targets) - 1]
    return values


def per_user(ranks: Ranks, ks: tuple[int, ...]) -> dict[str, np.ndarray]:
    """By name, float64 [C] each: "hr@k", "ndcg@k", "mrr@k", "recall@k", "precision@k" for every k, and "mrr"."""
    values = {}
    for k in ks:
        values[f"hr@{k}"] = hit_rate(ranks, k)
        values[f"ndcg@{k}"] = ndcg(ranks, k)
        values[f"mrr@{k}"] = reciprocal_rank_at(ranks, k)
        values[f"recall@{k}"] = recall(ranks, k)
        values[f"precision@{k}"] = precision(ranks, k)
    values["mrr"] = reciprocal_rank(ranks)
    return values
