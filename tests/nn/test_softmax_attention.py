"""Softmax attention is its definition; padding is attended by nobody; dropout is drawn from the call's generator."""

import pytest
import torch

from grela.nn.init import initialise
from grela.nn.softmax_attention import SoftmaxAttention, attention_weights
from reference.naive_softmax_attention import attention, parameters

S, T, D, H = 2, 5, 6, 3


def layer(*, causal: bool, dropout: float = 0.0, heads: int = H) -> SoftmaxAttention:
    found = SoftmaxAttention(D, heads=heads, dropout=dropout, causal=causal).double()
    rng = torch.Generator().manual_seed(0)
    initialise(found, rng)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return found


def inputs(seed: int = 1):
    rng = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, S, T, D, generator=rng, dtype=torch.float64)
    return queries, keys


@pytest.mark.parametrize("heads", [1, H])
@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_it_is_its_definition(causal, heads):
    module, (queries, keys) = layer(causal=causal, heads=heads), inputs()
    lengths = torch.tensor([5, 3])
    present = torch.arange(T) < lengths.unsqueeze(1)
    found, p = module(queries, keys, present), {f"a.{k}": v for k, v in parameters(module).items()}
    assert found.shape == (S, T, D)
    for s, length in enumerate(lengths.tolist()):
        expected = attention(
            queries[s, :length].numpy(), keys[s, :length].numpy(), p, "a", heads=heads, causal=causal
        )
        torch.testing.assert_close(found[s, :length], torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_weights_are_a_distribution_over_what_is_seen(causal):
    logits = 3 * torch.randn(S, H, T, T, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    present = torch.tensor([[True] * 5, [True, True, False, False, False]])
    weights = attention_weights(logits, present, causal=causal)
    torch.testing.assert_close(weights.sum(-1), torch.ones(S, H, T, dtype=torch.float64))
    seen = present[:, None, None, :].expand_as(weights)
    if causal:
        seen = seen & (torch.arange(T) <= torch.arange(T).unsqueeze(1))
    assert torch.equal(weights > 0, seen)


@torch.no_grad()
def test_dropout_is_of_the_weights_and_drawn_from_the_calls_generator():
    module, (queries, keys) = layer(causal=True, dropout=0.5), inputs()
    present = torch.ones(S, T, dtype=torch.bool)
    first, again, other = (
        module(queries, keys, present, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    # The first query has one weight for each head: twice as much, or nothing.
    value = module.value(keys[:, 0]).unflatten(-1, (H, -1))
    possible = [
        module.out((value * torch.tensor(kept, dtype=torch.float64)[:, None]).flatten(1))
        for kept in torch.cartesian_prod(*[torch.tensor([0.0, 2.0])] * H).tolist()
    ]
    for s in range(S):
        assert sum(torch.allclose(first[s, 0], one[s]) for one in possible) == 1


def test_every_parameter_but_the_bias_of_keys_gets_a_gradient():
    """A bias of keys moves all logits of a query by one number."""
    module, (queries, keys) = layer(causal=False), inputs()
    (module(queries, keys, torch.ones(S, T, dtype=torch.bool)) ** 2).sum().backward()
    for name, parameter in module.named_parameters():
        assert (parameter.grad.abs().max() > 1e-9) == (name != "key.bias"), name
