"""Compiled bidirectional blocks are `Block.packed` and `packed_last`: values and all gradients, judged in float64."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.block import Block
from grela.nn.compiled_packed_block import COMPILED_PACKED
from grela.ops.compiled.functions import dropout_mask
from grela.ops.packing import packing
from grela.ops.rotary import rotation

pytestmark = pytest.mark.usefixtures("kernels")

# A history of a single event, one shorter than the short convolution, one longer than a tile of the kernels.
PACKED = packing(torch.tensor([3, 1, 110, 23, 1, 2]))
P, HISTORIES = len(PACKED.segments), len(PACKED.lengths)
FLOAT32 = 2e-6
# One rounding to 8 bits: the forms round to bfloat16 at different places.
BFLOAT16 = 2**-8
SHAPES = [(16, 1), (32, 2), (64, 4), (64, 2), (64, 1), (96, 3)]

FORMS = pytest.mark.parametrize(
    ("plain", "compiled"),
    [(Block.packed, COMPILED_PACKED.every), (Block.packed_last, COMPILED_PACKED.last)],
    ids=["every position", "last"],
)


class Given(NamedTuple):
    block: Block
    x: Tensor
    turns: Tensor
    grad: Tensor


def given_of(width: int, heads: int, *, taps: int = 4, dropout: float = 0.0, drop_path: float = 0.0) -> Given:
    rng = torch.Generator().manual_seed(7)
    config = RecGRELAConfig(
        num_items=5,
        form="bidirectional",
        width=width,
        heads=heads,
        layers=1,
        taps=taps,
        dropout=dropout,
        drop_path=drop_path,
    )
    block = RecGRELA(config, rng=rng).each_block()[0]
    for parameter in block.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=rng)
    x, grad = torch.randn(2, 1, P, width, generator=rng)
    return Given(block, x, rotation(PACKED.positions, width, dtype=torch.complex128), grad)


def outcome(form, given: Given, dtype: torch.dtype, *, bf16: bool = False, rng=None) -> dict[str, Tensor]:
    """Output and gradients by x and every parameter, by name, in float64."""
    block = given.block.to(dtype)
    x = given.x.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out = form(block, x, given.turns.to(dtype.to_complex()), PACKED, rng)
    names = [name for name, _ in block.named_parameters()]
    grads = torch.autograd.grad(out, [x, *block.parameters()], given.grad[:, : out.shape[1]].to(dtype))
    found = {"out": out} | dict(zip(["x", *names], grads, strict=True))
    return {name: value.detach().double() for name, value in found.items()}


def assert_no_worse(fast: dict[str, Tensor], slow: dict[str, Tensor], exact: dict[str, Tensor], slack: float):
    """error(fast) <= error(slow, the same precision) + slack; errors are norms, relative to the exact value's."""
    assert fast.keys() == slow.keys() == exact.keys()
    for name, true in exact.items():
        assert fast[name].shape == true.shape, name
        of_fast, of_slow = ((found[name] - true).norm() / true.norm() for found in (fast, slow))
        assert of_fast <= of_slow + slack, (name, float(of_fast), float(of_slow))


def assert_close(fast: dict[str, Tensor], slow: dict[str, Tensor]):
    for name, value in slow.items():
        assert torch.allclose(fast[name], value, rtol=1e-4, atol=1e-4), name


@FORMS
@pytest.mark.parametrize(("width", "heads"), SHAPES)
@pytest.mark.parametrize(("bf16", "slack"), [(False, FLOAT32), (True, BFLOAT16)])
def test_equal_to_the_block_in_values_and_gradients(plain, compiled, width, heads, bf16, slack):
    given = given_of(width, heads)
    exact = outcome(plain, given, torch.float64)
    slow = outcome(plain, given, torch.float32, bf16=bf16)
    assert_no_worse(outcome(compiled, given, torch.float32, bf16=bf16), slow, exact, slack)


@FORMS
@pytest.mark.parametrize("taps", [1, 2, 7])
def test_equal_for_every_length_of_the_short_convolution(plain, compiled, taps):
    given = given_of(32, 2, taps=taps)
    exact = outcome(plain, given, torch.float64)
    slow = outcome(plain, given, torch.float32)
    assert_no_worse(outcome(compiled, given, torch.float32), slow, exact, FLOAT32)


@FORMS
def test_drop_path_drops_the_same_histories_as_the_block(plain, compiled):
    """The same generator, and no other draws before it: the same histories are dropped."""
    given = given_of(32, 2, drop_path=0.5)
    rng = torch.Generator()
    slow = outcome(plain, given, torch.float32, rng=rng.manual_seed(3))
    assert_close(outcome(compiled, given, torch.float32, rng=rng.manual_seed(3)), slow)
    assert not torch.allclose(slow["out"], outcome(plain, given, torch.float32)["out"], atol=1e-2)


@FORMS
def test_dropout_is_a_product_with_the_kernels_masks(plain, compiled, monkeypatch):
    """With the kernels' masks in place of its own, the block computes the same."""
    rate = 0.3
    given = given_of(32, 2, dropout=rate)
    rng = torch.Generator().manual_seed(3)
    given.block.kept_paths(PACKED, rng)  # is drawn first, whatever the rate
    seeds = torch.randint(2**63 - 1, (2,), generator=rng).tolist()
    fast = outcome(compiled, given, torch.float32, rng=rng.manual_seed(3))
    rows = P if plain is Block.packed else HISTORIES
    masks = iter(dropout_mask(rate, seed, rows, width) for seed, width in zip(seeds, (128, 32), strict=True))

    def by_kernels_masks(x: Tensor, rate: float, rng: torch.Generator) -> Tensor:
        return x * next(masks).view(x.shape).to(x.dtype)

    monkeypatch.setattr("grela.nn.feed_forward.dropout", by_kernels_masks)
    assert_close(fast, outcome(plain, given, torch.float32, rng=rng))


@FORMS
def test_no_history_sees_another(plain, compiled):
    """Whatever the others hold, a history's results keep their bits; packed alone, their values."""
    given = given_of(64, 4)
    low, high = 4, 114
    where = slice(low, high) if plain is Block.packed else slice(2, 3)
    turns = given.turns.to(torch.complex64)
    others = given.x + 1
    others[:, low:high] = given.x[:, low:high]
    with torch.no_grad():
        found = compiled(given.block, given.x, turns, PACKED)[:, where]
        among_others = compiled(given.block, others, turns, PACKED)[:, where]
        alone = packing(torch.tensor([high - low]))
        single = compiled(given.block, given.x[:, low:high], turns[low:high], alone)
    assert torch.equal(among_others, found)
    assert torch.allclose(single, found, rtol=1e-5, atol=1e-5)
