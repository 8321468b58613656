"""SASRec is its definition, computed one history at a time in float64."""

import math

import numpy as np
import pytest
import torch

from grela.models.sasrec import SASRec, SASRecConfig
from grela.models.sequential import Padded
from reference.naive_softmax_attention import attention, layer_norm, linear, parameters

ITEMS, WIDTH, POSITIONS = 13, 6, 9


def naive_hidden(items, p, *, heads: int, layers: int):
    """The hidden states [T, D] of one history's items."""
    width = p["embedding.weight"].shape[1]
    x = np.stack(
        [math.sqrt(width) * p["embedding.weight"][i] + p["positions.weight"][t] for t, i in enumerate(items)]
    )
    for layer in range(layers):
        name = f"blocks.{layer}."
        queries = layer_norm(x, p, name + "attention_norm", 1e-8)
        x = queries + attention(queries, x, p, name + "attention", heads=heads, causal=True)
        x = layer_norm(x, p, name + "feed_norm", 1e-8)
        x = x + linear(np.maximum(linear(x, p, name + "up"), 0), p, name + "down")
    return layer_norm(x, p, "norm", 1e-8)


def random_model(heads: int, layers: int) -> SASRec:
    rng = torch.Generator().manual_seed(0)
    config = SASRecConfig(width=WIDTH, heads=heads, layers=layers, positions=POSITIONS)
    model = SASRec(ITEMS, config, rng=rng).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model


@pytest.mark.parametrize(("heads", "layers"), [(1, 2), (3, 1), (2, 3)])
@torch.no_grad()
def test_hidden_states_and_scores_are_their_definition(heads, layers):
    model, rng = random_model(heads, layers), np.random.default_rng(0)
    lengths = [POSITIONS, 1, 4]
    items = [rng.integers(1, ITEMS + 1, length) for length in lengths]
    rows = np.stack([np.pad(row, (0, POSITIONS - len(row))) for row in items])
    given = Padded(torch.from_numpy(rows), torch.tensor(lengths))
    found, last = model.hidden(given), model.last_hidden(given)
    p = parameters(model)
    for s, row in enumerate(items):
        expected = naive_hidden(row, p, heads=heads, layers=layers)
        np.testing.assert_allclose(found[s, : len(row)], expected, rtol=1e-10, atol=1e-12)
        scores = [expected[-1] @ p["embedding.weight"][i] for i in range(1, ITEMS + 1)]
        np.testing.assert_allclose(model.scores(last)[s], scores, rtol=1e-10, atol=1e-12)


def test_the_defaults_are_the_papers():
    """Parameters of ML-1M's 3,416 items: table, positions, two blocks of six square maps with biases, five norms."""
    model = SASRec(3416, SASRecConfig(), rng=torch.Generator())
    D = 50
    assert sum(p.numel() for p in model.parameters()) == 3417 * D + 200 * D + 2 * 6 * (D * D + D) + 5 * 2 * D
