"""LinRec answers to its paper's equations, spelled out in reference/naive_linrec.py."""

import numpy as np
import pytest
import torch

from grela.models.linrec import LinRec, LinRecConfig, l2_normalised_attention
from grela.models.sequential import Padded
from reference import naive_linrec

ITEMS, HEADS, LAYERS = 11, 3, 2
LENGTHS = (7, 1, 4)


def model_in_float64() -> LinRec:
    """Weights of order 1, so that no part is lost beside another."""
    rng = torch.Generator().manual_seed(0)
    config = LinRecConfig(width=12, heads=HEADS, layers=LAYERS, inner=20, positions=9)
    model = LinRec(ITEMS, config, rng=rng).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model


def padded_histories() -> Padded:
    items = torch.randint(1, ITEMS + 1, (3, 7), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor(LENGTHS)
    return Padded(items * (torch.arange(7) < lengths.unsqueeze(1)), lengths)


@torch.no_grad()
def test_hidden_states_are_those_of_the_loops():
    model, histories = model_in_float64(), padded_histories()
    found, last = model.hidden(histories), model.last_hidden(histories)
    parameters = {name: p.numpy() for name, p in model.named_parameters()}
    for s, length in enumerate(LENGTHS):
        expected = naive_linrec.hidden(histories.items[s, :length].tolist(), parameters, HEADS, LAYERS)
        np.testing.assert_allclose(found[s, :length], expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(last[s], expected[-1], rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_the_loops():
    """Of one number, by central differences in the parameters."""
    model, histories = model_in_float64(), padded_histories()
    parameters = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    items = histories.items[0].tolist()

    def by_loops() -> float:
        return float(naive_linrec.hidden(items, parameters, HEADS, LAYERS)[-1] @ np.arange(12.0))

    value = model.last_hidden(histories)[0] @ torch.arange(12.0, dtype=torch.float64)
    gradients = dict(zip(parameters, torch.autograd.grad(value, list(model.parameters())), strict=True))
    rng = np.random.default_rng(2)
    for name in ("blocks.0.attention.query.weight", "blocks.1.attention.key.weight", "positions.weight"):
        place = (int(rng.integers(7)), int(rng.integers(12)))
        differences = []
        for step in (1e-5, -1e-5):
            parameters[name][place] += step
            differences.append(by_loops())
            parameters[name][place] -= step
        slope = (differences[0] - differences[1]) / 2e-5
        assert gradients[name][place] == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_a_querys_products_with_all_keys_sum_to_at_most_1():
    rng = torch.Generator().manual_seed(3)
    q, k = (5 * torch.randn(1, 2, 40, 8, generator=rng) for _ in range(2))
    present = torch.ones(1, 40, dtype=torch.bool)
    sums = l2_normalised_attention(q, k, torch.ones(1, 2, 40, 1), present)
    assert sums.abs().max() <= 1 + 1e-6
    aligned = torch.full((1, 2, 40, 8), 3.0)
    whole = l2_normalised_attention(aligned, aligned, torch.ones(1, 2, 40, 1), present)
    torch.testing.assert_close(whole, torch.ones_like(whole))


def test_a_channel_of_the_keys_is_divided_by_its_norm_over_the_history():
    """So a channel that is a thousand times as large elsewhere changes nothing here."""
    rng = torch.Generator().manual_seed(4)
    q, k = (torch.rand(1, 1, 6, 3, generator=rng) + 0.1 for _ in range(2))
    v = torch.randn(1, 1, 6, 2, generator=rng)
    present = torch.ones(1, 6, dtype=torch.bool)
    # Positive numbers are their own elu.
    scaled = k * torch.tensor([1000.0, 1.0, 0.01])
    torch.testing.assert_close(
        l2_normalised_attention(q, scaled, v, present), l2_normalised_attention(q, k, v, present)
    )
