"""The blocked softmax loss equals the naive one, and in bfloat16 errs no more than the naive one does."""

import pytest
import torch

from grela.ops.cross_entropy import naive_softmax_loss, softmax_loss

P, D, N = 23, 5, 11


def problem(positions: int = P, *, scale: float = 1.0, seed: int = 0, items: int = N, width: int = D):
    rng = torch.Generator().manual_seed(seed)
    hidden = scale * torch.randn(positions, width, generator=rng, dtype=torch.float64)
    weight = torch.randn(items, width, generator=rng, dtype=torch.float64)
    return hidden, weight, torch.randint(items, (positions,), generator=rng)


def with_gradients(loss, hidden, weight, targets, **options):
    leaves = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    value = loss(*leaves, targets, **options)
    (3 * value).backward()  # a factor that a gradient formed on the way forward could forget
    return value.detach(), leaves[0].grad, leaves[1].grad


def test_naive_is_the_mean_of_minus_log_softmax():
    hidden, weight, targets = problem()
    expected = 0.0
    for p in range(P):
        exponentials = (hidden[p] @ weight.T).exp()
        expected -= (exponentials[targets[p]] / exponentials.sum()).log().item() / P
    assert naive_softmax_loss(hidden, weight, targets).item() == pytest.approx(expected, rel=1e-12)


# 23 positions: whole blocks and a rest, one position a block, one block exactly, a block larger than all.
@pytest.mark.parametrize("block", [1, 4, 7, 22, 23, 24, 512])
def test_blocked_equals_naive_in_value_and_gradients(block, device):
    hidden, weight, targets = (x.to(device) for x in problem())
    found = with_gradients(softmax_loss, hidden, weight, targets, block=block)
    expected = with_gradients(naive_softmax_loss, hidden, weight, targets)
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == torch.float64
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


def test_one_position_is_enough():
    hidden, weight, targets = problem(1)
    found = with_gradients(softmax_loss, hidden, weight, targets)
    expected = with_gradients(naive_softmax_loss, hidden, weight, targets)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


# Peaked and flat softmax: the largest probability near 1, and near 1 / N.
@pytest.mark.parametrize("scale", [0.02, 1.0, 4.0])
def test_bfloat16_errs_no_more_than_naive_does(scale):
    hidden, weight, targets = problem(300, scale=scale, items=700, width=16)
    exact = with_gradients(naive_softmax_loss, hidden, weight, targets)
    narrow = hidden.bfloat16(), weight.float(), targets
    fast = with_gradients(softmax_loss, *narrow, block=64)
    slow = with_gradients(lambda h, w, t: naive_softmax_loss(h, w.bfloat16(), t), *narrow)
    assert fast[0].dtype == torch.float32
    assert fast[2].dtype == torch.float32
    # A probability rounded to bfloat16 is off by at most 2**-9, and so is its logarithm.
    assert abs(fast[0] - exact[0]) <= abs(slow[0] - exact[0]) + 2**-9
    for x, y, z in zip(fast[1:], slow[1:], exact[1:], strict=True):
        # Gradients as a whole: what naive errs, and one more rounding of 2**-9 of their size.
        assert (x.double() - z).norm() <= (y.double() - z).norm() + 2**-9 * z.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(dtype, size):
    """Logits of about 1e4 both ways, with targets of probability 0 and of 1."""
    hidden = torch.full((3, 2), size, dtype=dtype)
    weight = torch.tensor([[0.5, 0.5], [-0.5, -0.5], [0.0, 0.0], [0.5, 0.25]], dtype=dtype)
    targets = torch.tensor([0, 1, 2])
    found = with_gradients(softmax_loss, hidden, weight, targets)
    expected = with_gradients(naive_softmax_loss, hidden, weight, targets)
    for x, y in zip(found, expected, strict=True):
        assert x.isfinite().all()
        torch.testing.assert_close(x.double(), y.double(), rtol=1e-2, atol=1e-4)


def test_gradients_of_each_position_sum_to_zero_over_items():
    """The softmax and the target's 1 cancel: with one-hot hidden states the weight's gradient has column sum 0."""
    hidden, weight, targets = problem()
    _, _, by_weight = with_gradients(softmax_loss, hidden, weight, targets, block=4)
    torch.testing.assert_close(by_weight.sum(0), torch.zeros(D, dtype=torch.float64), rtol=0, atol=1e-14)
