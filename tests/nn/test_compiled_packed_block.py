"""The compiled second half of a packed block is `Block.packed`: values and gradients, judged by float64."""

import pytest
import torch
from torch import Tensor

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.block import Block
from grela.nn.compiled_packed_block import compiled_packed_block
from grela.ops.compiled.functions import dropout_mask
from grela.ops.packing import packing
from grela.ops.rotary import rotation

pytestmark = pytest.mark.usefixtures("kernels")

PACKED = packing(torch.tensor([3, 1, 70, 23]))
WIDTH = 32
# As for the causal block: another order of summation, and two roundings to 8 bits at different places.
FLOAT32, BFLOAT16 = 2e-6, 2 * 2**-8


def make_block(*, dropout: float = 0.0, drop_path: float = 0.0) -> Block:
    rng = torch.Generator().manual_seed(7)
    config = RecGRELAConfig(
        num_items=5,
        width=WIDTH,
        heads=2,
        layers=1,
        form="bidirectional",
        dropout=dropout,
        drop_path=drop_path,
    )
    block = RecGRELA(config, rng=rng).each_block()[0]
    for parameter in block.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=rng)
    return block


def outcome(form, block: Block, dtype: torch.dtype, *, bf16: bool = False, rng=None) -> dict[str, Tensor]:
    """Output and gradients by x and every parameter, by name, in float64."""
    draws = torch.Generator().manual_seed(8)
    block = block.to(dtype)
    x = torch.randn(1, 97, WIDTH, generator=draws).to(dtype).requires_grad_()
    grad = torch.randn(1, 97, WIDTH, generator=draws).to(dtype)
    turns = rotation(PACKED.positions, WIDTH, dtype=dtype.to_complex())
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out = form(block, x, turns, PACKED, rng)
    names = ["x", *(name for name, _ in block.named_parameters())]
    grads = torch.autograd.grad(out, [x, *block.parameters()], grad)
    found = {"out": out} | dict(zip(names, grads, strict=True))
    return {name: value.detach().double() for name, value in found.items()}


@pytest.mark.parametrize(("bf16", "slack"), [(False, FLOAT32), (True, BFLOAT16)])
def test_equal_to_the_packed_block_in_values_and_gradients(bf16, slack):
    block = make_block()
    exact = outcome(Block.packed, block, torch.float64)
    slow = outcome(Block.packed, block, torch.float32, bf16=bf16)
    fast = outcome(compiled_packed_block, block, torch.float32, bf16=bf16)
    assert fast.keys() == exact.keys()
    for name, true in exact.items():
        of_fast, of_slow = ((found[name] - true).abs().max() / true.abs().max() for found in (fast, slow))
        assert of_fast <= of_slow + slack, (name, float(of_fast), float(of_slow))


def test_drop_path_drops_the_same_histories_as_the_packed_block():
    block, rng = make_block(drop_path=0.5), torch.Generator()
    expected, found = (
        outcome(form, block, torch.float32, rng=rng.manual_seed(3))
        for form in (Block.packed, compiled_packed_block)
    )
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-4), name
    without = outcome(Block.packed, block, torch.float32)
    assert not torch.allclose(expected["out"], without["out"], atol=1e-2)


def test_dropout_is_a_product_with_the_kernels_masks(monkeypatch):
    """With the kernels' masks in place of its own, the packed block computes the same."""
    block, rng = make_block(dropout=0.3), torch.Generator().manual_seed(3)
    block.kept_paths(PACKED, rng)
    inner, outer = torch.randint(2**63 - 1, (2,), generator=rng).tolist()
    masks = iter((dropout_mask(0.3, inner, 97, 4 * WIDTH), dropout_mask(0.3, outer, 97, WIDTH)))
    found = outcome(compiled_packed_block, block, torch.float32, rng=rng.manual_seed(3))
    monkeypatch.setattr("grela.nn.feed_forward.dropout", lambda x, rate, rng: x * next(masks))
    expected = outcome(Block.packed, block, torch.float32, rng=rng.manual_seed(3))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-4), name
    without = outcome(compiled_packed_block, block, torch.float32)
    assert not torch.allclose(found["out"], without["out"], atol=1e-2)
