"""The convolution equals torch's on each history alone; a step equals a row; nothing crosses a history's edge."""

import pytest
import torch
from torch.nn.functional import conv1d

from grela.ops.short_conv import short_conv, short_conv_step

B, D, W = 2, 3, 4
LENGTHS = (1, 2, 3, 4, 5, 17)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_history(length: int) -> torch.Tensor:
    return torch.zeros(B, length, dtype=torch.int64)


def by_torch(x, weight, bias, tail):
    """torch.nn.functional.conv1d on the tail and x of one history a row."""
    padded_BDT = torch.cat((tail, x), 1).transpose(1, 2)
    return conv1d(padded_BDT, weight.unsqueeze(1), bias, groups=len(weight)).transpose(1, 2)


@pytest.mark.parametrize("taps", [1, 2, W])
@pytest.mark.parametrize("length", LENGTHS)
def test_equals_torch_in_values_and_gradients(length, taps):
    given = draw(B, length, D), draw(D, taps, seed=1), draw(D, seed=2), draw(B, taps - 1, D, seed=3)
    ours, theirs = ([x.clone().requires_grad_() for x in given] for _ in range(2))
    y, tail = short_conv(ours[0], ours[1], ours[2], one_history(length), ours[3])
    expected = by_torch(*theirs)
    expected_tail = torch.cat((theirs[3], theirs[0]), 1)[:, length:]
    torch.testing.assert_close(y, expected, rtol=1e-13, atol=1e-13)
    assert torch.equal(tail, expected_tail)
    weights, tail_weights = draw(*y.shape, seed=4), draw(*tail.shape, seed=5)
    ((y * weights).sum() + (tail * tail_weights).sum()).backward()
    ((expected * weights).sum() + (expected_tail * tail_weights).sum()).backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-12, atol=1e-12)


def test_packed_histories_equal_each_alone():
    """Histories shorter than the kernel, as long, and longer, one after the other in a row."""
    lengths = [2, 1, 7, 4, 1]
    segments = torch.arange(5).repeat_interleave(torch.tensor(lengths)).expand(B, -1)
    x, weight, bias, nothing = draw(B, 15, D), draw(D, W, seed=1), draw(D, seed=2), torch.zeros(B, W - 1, D)
    nothing = nothing.double()
    leaf = x.clone().requires_grad_()
    y, tail = short_conv(leaf, weight, bias, segments, nothing)
    weights = draw(B, 15, D, seed=3)
    (y * weights).sum().backward()
    end = 0
    for length in lengths:
        place = slice(end, end := end + length)
        alone = x[:, place].clone().requires_grad_()
        expected = by_torch(alone, weight, bias, nothing)
        (expected * weights[:, place]).sum().backward()
        torch.testing.assert_close(y[:, place], expected, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(leaf.grad[:, place], alone.grad, rtol=1e-12, atol=1e-12)
    assert torch.equal(tail, torch.cat((torch.zeros(B, W - 2, D, dtype=torch.float64), x[:, -1:]), 1))


def test_the_tail_before_reaches_the_first_history_only():
    segments = torch.tensor([[0, 0, 1, 1, 1]] * B)
    x, weight, bias, tail = draw(B, 5, D), draw(D, W, seed=1), draw(D, seed=2), draw(B, W - 1, D, seed=3)
    with_tail, _ = short_conv(x, weight, bias, segments, tail)
    without, _ = short_conv(x, weight, bias, segments, torch.zeros_like(tail))
    assert not torch.isclose(with_tail[:, :2], without[:, :2]).any()
    assert torch.equal(with_tail[:, 2:], without[:, 2:])


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 16])
def test_tail_carried_across_a_cut_equals_one_pass(cut):
    x, weight, bias, tail = draw(B, 17, D), draw(D, W, seed=1), draw(D, seed=2), draw(B, W - 1, D, seed=3)
    whole, whole_tail = short_conv(x, weight, bias, one_history(17), tail)
    head, between = short_conv(x[:, :cut], weight, bias, one_history(cut), tail)
    rest, final = short_conv(x[:, cut:], weight, bias, one_history(17 - cut), between)
    torch.testing.assert_close(torch.cat((head, rest), 1), whole, rtol=1e-13, atol=1e-13)
    assert torch.equal(final, whole_tail)


@pytest.mark.parametrize("taps", [1, 2, W])
def test_step_equals_whole(taps):
    x, weight, bias = draw(B, 9, D), draw(D, taps, seed=1), draw(D, seed=2)
    tail = draw(B, taps - 1, D, seed=3)
    whole, whole_tail = short_conv(x, weight, bias, one_history(9), tail)
    for t in range(9):
        y, tail = short_conv_step(x[:, t], weight, bias, tail)
        torch.testing.assert_close(y, whole[:, t], rtol=1e-13, atol=1e-13)
    assert torch.equal(tail, whole_tail)
