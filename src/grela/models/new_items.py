"""Items that a model was not trained with: an embedding and a bias from like items, or from features.

From neighbours: the weighted mean of theirs. From features: a ridge regression (Hoerl and Kennard, Technometrics
1970) of known items' embeddings and biases on their feature vectors, with an intercept, after each feature is
brought to mean 0 and deviation 1; how strongly it is held back is chosen by the error on items left out one at a
time, which has a closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from grela.errors import ConfigError
from grela.models.recgrela import RecGRELA, RecGRELAConfig

# N items, A added items, n known items with features, F features, D width, R = D + 1 with the bias

RIDGES = tuple(10.0**power for power in range(-6, 4))  # as shares of the number of items


@dataclass(frozen=True, eq=False)
class ItemRows:
    """The rows of A items in a model's tables: embeddings [A, D], biases [A] (0 without `item_bias`), float32."""

    embeddings: np.ndarray
    biases: np.ndarray

    def __len__(self) -> int:
        return len(self.biases)

    @staticmethod
    def joined(parts: Sequence["ItemRows"]) -> "ItemRows":
        """One after the other; at least one."""
        return ItemRows(
            np.concatenate([part.embeddings for part in parts]),
            np.concatenate([part.biases for part in parts]),
        )


def rows_of(model: RecGRELA, items: np.ndarray) -> ItemRows:
    """The rows of dense items, 1..N, as they are."""
    at = torch.from_numpy(np.asarray(items, np.int64)).to(model.embedding.weight.device)
    with torch.no_grad():
        embeddings = model.embedding.weight[at].float().cpu().numpy()
        if model.item_bias is None:
            return ItemRows(embeddings, np.zeros(len(at), np.float32))
        return ItemRows(embeddings, model.item_bias.weight[at, 0].float().cpu().numpy())


def like_neighbours(model: RecGRELA, neighbours: np.ndarray, weights: np.ndarray) -> ItemRows:
    """One row: the mean of the neighbours' rows, dense items [n] from 1 on, by positive weights [n]."""
    rows, share = rows_of(model, neighbours), weights / weights.sum()
    return ItemRows(
        (share @ rows.embeddings.astype(np.float64)).astype(np.float32)[None],
        np.array([share @ rows.biases.astype(np.float64)], np.float32),
    )


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """From features [n, F] to rows: ((x - mean) / scale) @ weights [F, R] + intercept [R].

    ridges: those chosen, of embeddings and of biases.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    ridges: tuple[float, float]

    @staticmethod
    def fitted(features: np.ndarray, rows: ItemRows) -> "FeatureMap":
        """Learn from known items: features float64 [n, F] of n >= 2 items."""
        mean, scale = features.mean(0), features.std(0)
        scale[scale == 0] = 1.0
        decomposed = np.linalg.svd((features - mean) / scale, full_matrices=False)
        # Embeddings and biases are of other sizes, so each chooses for itself.
        parts = [rows.embeddings.astype(np.float64), rows.biases.astype(np.float64)[:, None]]
        solved = [_ridge(decomposed, part - part.mean(0)) for part in parts]
        intercept = np.concatenate([part.mean(0) for part in parts])
        weights = np.column_stack([weights for weights, _ in solved])
        return FeatureMap(mean, scale, weights, intercept, (solved[0][1], solved[1][1]))

    def rows(self, features: np.ndarray) -> ItemRows:
        """The rows of items with features [A, F]."""
        mapped = ((features - self.mean) / self.scale @ self.weights + self.intercept).astype(np.float32)
        return ItemRows(mapped[:, :-1].copy(), mapped[:, -1].copy())


def _ridge(
    decomposed: tuple[np.ndarray, np.ndarray, np.ndarray], targets: np.ndarray
) -> tuple[np.ndarray, float]:
    """Weights [F, r] for centred targets [n, r], and the ridge that foretells items left out best.

    decomposed: U [n, f], s [f], V^T [f, F] of the features. Left out, an item has its residual divided by
    1 - its leverage.
    """
    U, s, Vt = decomposed
    reached, count = U.T @ targets, len(targets)

    def error_left_out(ridge: float) -> float:
        kept = s**2 / (s**2 + ridge * count)
        residuals = targets - U @ (kept[:, None] * reached)
        leverage = (U**2) @ kept + 1 / count
        return float(((residuals / np.maximum(1 - leverage, 1e-9)[:, None]) ** 2).mean())

    ridge = min(RIDGES, key=error_left_out)
    return Vt.T @ ((s / (s**2 + ridge * count))[:, None] * reached), ridge


def with_rows(model: RecGRELA, rows: ItemRows) -> RecGRELA:
    """The model with A more items after its N; all else, and every state, is as before."""
    config = model.config
    larger = replace(
        config, num_items=config.num_items + len(rows), added_items=config.added_items + len(rows)
    )
    weights = model.state_dict()
    table = weights["embedding.weight"]
    if rows.embeddings.shape != (len(rows), config.width):
        raise ConfigError(f"embeddings are {rows.embeddings.shape}, expected {(len(rows), config.width)}")
    weights["embedding.weight"] = torch.cat((table, torch.from_numpy(rows.embeddings).to(table)))
    if model.item_bias is not None:
        biases = torch.from_numpy(rows.biases).to(table).unsqueeze(1)
        weights["item_bias.weight"] = torch.cat((weights["item_bias.weight"], biases))
    return _of(larger, weights, model)


def without_added(model: RecGRELA) -> RecGRELA:
    """The model with the items it was trained with."""
    config = model.config
    if not config.added_items:
        return model
    trained = config.num_items - config.added_items
    weights = model.state_dict()
    for name in ("embedding.weight", "item_bias.weight"):
        if name in weights:
            weights[name] = weights[name][: trained + 1]
    return _of(replace(config, num_items=trained, added_items=0), weights, model)


def _of(config: RecGRELAConfig, weights: dict[str, torch.Tensor], like: RecGRELA) -> RecGRELA:
    eps = like.each_block()[0].attention.eps
    made = RecGRELA(config, rng=torch.Generator().manual_seed(0), eps=eps)
    made.load_state_dict(weights)
    return made.to(like.embedding.weight)
