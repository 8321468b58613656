"""The compiled block is `Block.forward`: values, states and every gradient, judged by the block in float64."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from grela.errors import KernelError
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.attention import LayerState
from grela.nn.block import Block
from grela.nn.compiled_block import compiled_block
from grela.ops.compiled.functions import dropout_mask
from grela.ops.linear_attention import AttentionState
from grela.ops.rotary import rotation

pytestmark = pytest.mark.usefixtures("kernels")

# Several histories in a row, one of a single event, one longer than a piece of the kernel; the rows differ.
SEGMENTS = torch.tensor([[0] * 3 + [1] + [2] * 70 + [3] * 23, [0] * 80 + [1] * 17])
# The kernels add over positions one by one, where PyTorch adds pairwise.
FLOAT32 = 2e-6
# One rounding to 8 bits: the forms round to bfloat16 at different places.
BFLOAT16 = 2**-8
SHAPES = [(16, 1), (32, 2), (64, 4), (64, 2), (64, 1), (96, 3)]


class Given(NamedTuple):
    block: Block
    x: Tensor
    turns: Tensor
    state: LayerState
    grad: Tensor


def given_of(
    width: int,
    heads: int,
    *,
    taps: int = 4,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    decay: bool = False,
) -> Given:
    rng = torch.Generator().manual_seed(7)
    config = RecGRELAConfig(
        num_items=5,
        width=width,
        heads=heads,
        layers=1,
        taps=taps,
        dropout=dropout,
        drop_path=drop_path,
        decay=decay,
        after_next=0.0,
    )
    block = RecGRELA(config, rng=rng).each_block()[0]
    for parameter in block.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=rng)
    rows, length = SEGMENTS.shape
    draw = lambda *shape: torch.randn(shape, generator=rng)  # noqa: E731
    d = width // heads
    state = LayerState(
        AttentionState(draw(rows, heads, d, d), draw(rows, heads, d).abs()), draw(rows, taps - 1, width)
    )
    positions = 1_000 + torch.arange(length).expand(rows, length)
    x, grad = draw(rows, length, width), draw(rows, length, width)
    return Given(block, x, rotation(positions, width, dtype=torch.complex128), state, grad)


def outcome(form, given: Given, dtype: torch.dtype, *, bf16: bool = False, rng=None) -> dict[str, Tensor]:
    """Output, state after and gradients by x and every parameter, by name, in float64."""
    block = given.block.to(dtype)
    x = given.x.to(dtype).requires_grad_()
    state = LayerState(
        AttentionState(*(part.to(dtype) for part in given.state.attention)), given.state.tail.to(dtype)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        out, after = form(block, x, given.turns.to(dtype.to_complex()), SEGMENTS, state, rng)
    names = [name for name, _ in block.named_parameters()]
    grads = torch.autograd.grad(out, [x, *block.parameters()], given.grad.to(dtype))
    found = {"out": out, "S": after.attention.S, "z": after.attention.z, "tail": after.tail}
    found |= dict(zip(["x", *names], grads, strict=True))
    return {name: value.detach().double() for name, value in found.items()}


def assert_no_worse(fast: dict[str, Tensor], slow: dict[str, Tensor], exact: dict[str, Tensor], slack: float):
    """error(fast) <= error(slow, the same precision) + slack; errors are norms, relative to the exact value's."""
    assert fast.keys() == slow.keys() == exact.keys()
    for name, true in exact.items():
        if not true.numel():  # with one tap there is no tail
            continue
        of_fast, of_slow = ((found[name] - true).norm() / true.norm() for found in (fast, slow))
        assert of_fast <= of_slow + slack, (name, float(of_fast), float(of_slow))


@pytest.mark.parametrize(("width", "heads"), SHAPES)
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize(("bf16", "slack"), [(False, FLOAT32), (True, BFLOAT16)])
def test_equal_to_the_block_in_values_states_and_gradients(width, heads, decay, bf16, slack):
    given = given_of(width, heads, decay=decay)
    exact = outcome(Block.forward, given, torch.float64)
    slow = outcome(Block.forward, given, torch.float32, bf16=bf16)
    fast = outcome(compiled_block, given, torch.float32, bf16=bf16)
    assert_no_worse(fast, slow, exact, slack)


@pytest.mark.parametrize("taps", [1, 2, 7])
def test_equal_for_every_length_of_the_short_convolution(taps):
    given = given_of(32, 2, taps=taps)
    exact = outcome(Block.forward, given, torch.float64)
    slow = outcome(Block.forward, given, torch.float32)
    assert_no_worse(outcome(compiled_block, given, torch.float32), slow, exact, FLOAT32)


def test_drop_path_drops_the_same_histories_as_the_block():
    """The same generator, and no other draws before it: the same histories are dropped."""
    given = given_of(32, 2, drop_path=0.5)
    rng = torch.Generator()
    found = [
        outcome(form, given, torch.float32, rng=rng.manual_seed(3))
        for form in (Block.forward, compiled_block)
    ]
    for name, value in found[0].items():
        assert torch.allclose(found[1][name], value, rtol=1e-4, atol=1e-4), name
    without = outcome(Block.forward, given, torch.float32)
    assert not torch.allclose(found[0]["out"], without["out"], atol=1e-2)


def test_dropout_is_a_product_with_the_kernels_masks(monkeypatch):
    """With the kernels' masks in place of its own, the block computes the same."""
    rate = 0.3
    given = given_of(32, 2, dropout=rate)
    rng = torch.Generator().manual_seed(3)
    seeds = torch.randint(2**63 - 1, (2,), generator=rng).tolist()
    fast = outcome(compiled_block, given, torch.float32, rng=rng.manual_seed(3))
    masks = iter(
        dropout_mask(rate, seed, SEGMENTS.numel(), width)
        for seed, width in zip(seeds, (128, 32), strict=True)
    )

    def by_kernels_masks(x: Tensor, rate: float, rng: torch.Generator) -> Tensor:
        return x * next(masks).view(x.shape).to(x.dtype)

    monkeypatch.setattr("grela.nn.feed_forward.dropout", by_kernels_masks)
    slow = outcome(Block.forward, given, torch.float32, rng=rng)
    for name, value in slow.items():
        assert torch.allclose(fast[name], value, rtol=1e-4, atol=1e-4), name


def test_masks_have_the_rate_and_differ_between_seeds_rows_and_columns():
    rate, rows, columns = 0.1, 400, 256
    mask = dropout_mask(rate, 11, rows, columns)
    kept = mask != 0
    assert torch.equal(mask[kept], torch.full_like(mask[kept], 1 / (1 - rate)))
    count = rows * columns
    spread = (rate * (1 - rate) * count) ** 0.5
    assert abs((~kept).sum().item() - rate * count) < 5 * spread
    # Neighbouring rows, columns and seeds share no more dropped places than chance has it: rate squared.
    dropped = ~kept
    pairs = {
        "rows": dropped[1:] & dropped[:-1],
        "columns": dropped[:, 1:] & dropped[:, :-1],
        "seeds": dropped & (dropout_mask(rate, 12, rows, columns) == 0),
        "half a row apart": dropped[:, 128:] & dropped[:, :128],
    }
    for name, both in pairs.items():
        expected = rate**2 * both.numel()
        assert abs(both.sum().item() - expected) < 5 * expected**0.5, name
    assert torch.equal(dropout_mask(rate, 11, rows, columns), mask)
    assert torch.equal(dropout_mask(0.0, 11, 3, 16), torch.ones(3, 16))


def test_pieces_with_the_state_carried_are_one_long_pass():
    given = given_of(64, 4)
    whole, after = compiled_block(
        given.block.float(), given.x, given.turns.to(torch.complex64), SEGMENTS, given.state
    )
    outputs, state = [], given.state
    for low, high in ((0, 1), (1, 40), (40, 97)):
        turns = given.turns[:, low:high].to(torch.complex64)
        part, state = compiled_block(given.block, given.x[:, low:high], turns, SEGMENTS[:, low:high], state)
        # A later piece continues the history it begins in only if its first segment is the last one's.
        if high < 97:
            goes_on = (SEGMENTS[:, high] == SEGMENTS[:, high - 1]).float()
            S, z = state.attention
            state = LayerState(
                AttentionState(S * goes_on[:, None, None, None], z * goes_on[:, None, None]),
                state.tail * goes_on[:, None, None],
            )
        outputs.append(part)
    assert torch.allclose(torch.cat(outputs, 1), whole, atol=1e-5)
    assert torch.allclose(state.attention.S, after.attention.S, rtol=1e-5, atol=1e-4)
    assert torch.allclose(state.tail, after.tail, atol=1e-6)


def test_a_state_that_wants_a_gradient_is_refused():
    given = given_of(32, 2)
    given.state.tail.requires_grad_()
    with pytest.raises(KernelError, match="detach"):
        compiled_block(given.block.float(), given.x, given.turns.to(torch.complex64), SEGMENTS, given.state)
