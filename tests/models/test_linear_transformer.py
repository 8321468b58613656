"""Plain linear attention answers to its equations, spelled out in reference/naive_linear_transformer.py."""

import numpy as np
import pytest
import torch

from grela.models.linear_transformer import CausalLinearAttention, LinearTransformer, LinearTransformerConfig
from grela.models.sequential import Padded
from grela.nn.init import initialise
from reference import naive_linear_transformer

ITEMS, HEADS, LAYERS = 11, 3, 2
LENGTHS = (40, 1, 33)  # the sums go in chunks of 32 positions


def model_in_float64() -> LinearTransformer:
    """Weights of order 1, so that no part is lost beside another."""
    rng = torch.Generator().manual_seed(0)
    config = LinearTransformerConfig(width=12, heads=HEADS, layers=LAYERS, positions=41)
    model = LinearTransformer(ITEMS, config, rng=rng).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model


def padded_histories() -> Padded:
    items = torch.randint(1, ITEMS + 1, (3, 40), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor(LENGTHS)
    return Padded(items * (torch.arange(40) < lengths.unsqueeze(1)), lengths)


@torch.no_grad()
def test_hidden_states_are_those_of_the_loops():
    model, histories = model_in_float64(), padded_histories()
    found = model.hidden(histories)
    parameters = {name: p.numpy() for name, p in model.named_parameters()}
    for s, length in enumerate(LENGTHS):
        items = histories.items[s, :length].tolist()
        expected = naive_linear_transformer.hidden(items, parameters, HEADS, LAYERS)
        np.testing.assert_allclose(found[s, :length], expected, rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_the_loops():
    """Of one number, by central differences in the parameters."""
    model, histories = model_in_float64(), padded_histories()
    parameters = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    items = histories.items[2, :33].tolist()

    def by_loops() -> float:
        hidden = naive_linear_transformer.hidden(items, parameters, HEADS, LAYERS)
        return float(hidden[-1] @ np.arange(12.0))

    value = model.last_hidden(histories)[2] @ torch.arange(12.0, dtype=torch.float64)
    gradients = dict(zip(parameters, torch.autograd.grad(value, list(model.parameters())), strict=True))
    for name in ("blocks.0.attention.key.weight", "positions.weight"):
        differences = []
        for step in (1e-5, -1e-5):
            parameters[name][3, 5] += step
            differences.append(by_loops())
            parameters[name][3, 5] -= step
        slope = (differences[0] - differences[1]) / 2e-5
        assert gradients[name][3, 5] == pytest.approx(slope, rel=1e-5, abs=1e-7)


@torch.no_grad()
def test_weights_of_the_past_sum_to_1():
    """Where values are all the same, that is what attention returns, from the first event on."""
    attention = CausalLinearAttention(8, heads=2)
    initialise(attention, torch.Generator().manual_seed(0))
    attention.value.weight.zero_()
    attention.value.bias.copy_(torch.arange(8.0))
    attention.out.weight.copy_(torch.eye(8))
    found = attention(torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(found, torch.arange(8.0).expand_as(found), rtol=1e-5, atol=1e-5)
