"""The feed-forward network is its formula; a block's parts, joined again, are the block."""

import torch
from torch.special import erf

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.attention import LayerState
from grela.nn.feed_forward import FeedForward
from grela.ops.linear_attention import empty_state
from grela.ops.rotary import rotation


def test_feed_forward_is_its_formula():
    torch.manual_seed(0)
    layer = FeedForward(3, dropout=0.5).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    inner = x @ layer.up.weight.T + layer.up.bias
    assert inner.shape == (2, 4, 12)
    inner = inner * 0.5 * (1 + erf(inner / 2**0.5))
    torch.testing.assert_close(layer(x), inner @ layer.down.weight.T + layer.down.bias)


def test_feed_forward_drops_inside_and_outside():
    torch.manual_seed(0)
    layer = FeedForward(50, dropout=0.5)
    out = layer(torch.randn(40, 50), torch.Generator().manual_seed(0))
    assert 0.4 < (out == 0).float().mean() < 0.6
    assert (layer(torch.randn(40, 50)) != 0).all()


@torch.no_grad()
def test_branches_joined_again_are_the_block():
    config = RecGRELAConfig(num_items=5, width=12, heads=3, layers=1)
    block = RecGRELA(config, rng=torch.Generator().manual_seed(0)).double().each_block()[0]
    x = torch.randn(2, 7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    turns = rotation(torch.arange(7).expand(2, -1), 12, dtype=torch.complex128)
    segments = torch.zeros(2, 7, dtype=torch.int64)
    state = LayerState(empty_state(2, 3, 4, 4, like=x), torch.zeros(2, 3, 12, dtype=torch.float64))
    whole, _ = block(x, turns, segments, state)
    branches, _ = block.attention.branches(block.attention_norm(x), turns, segments, state)
    assert {b.shape for b in branches} == {(2, 7, 12)}
    torch.testing.assert_close(block.finish(x, branches), whole, rtol=1e-13, atol=1e-13)
