"""The compiled block of the softmax: loss and gradient of the definition, in place."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from grela.ops.compiled.softmax import softmax_loss_and_gradient

pytestmark = pytest.mark.usefixtures("kernels")


def exact(logits, targets):
    """The summed loss and its gradient in float64."""
    wide = logits.double().requires_grad_()
    loss = cross_entropy(wide, targets, reduction="sum")
    return loss.detach(), torch.autograd.grad(loss, wide)[0]


@pytest.mark.parametrize("items", [1, 5, 16, 33, 3416])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
def test_equal_to_cross_entropy(items, dtype, tolerance):
    rng = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(7, items, generator=rng)).to(dtype)
    targets = torch.randint(items, (7,), generator=rng)
    true_loss, true_gradient = exact(logits, targets)
    loss, gradient = softmax_loss_and_gradient(logits.clone(), targets)
    assert loss.double() == pytest.approx(true_loss.item(), rel=1e-5, abs=1e-5)
    assert torch.allclose(gradient.double(), true_gradient, atol=tolerance)


def test_far_logits_neither_overflow_nor_lose_the_loss():
    logits = torch.tensor([[300.0, -300.0, 0.0], [-300.0, 1000.0, 999.0]])
    targets = torch.tensor([1, 2])
    true_loss, true_gradient = exact(logits, targets)
    loss, gradient = softmax_loss_and_gradient(logits.clone(), targets)
    assert loss.item() == pytest.approx(true_loss.item(), rel=1e-6)
    assert torch.allclose(gradient.double(), true_gradient, atol=1e-6)


def test_an_item_at_minus_infinity_is_no_candidate():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 40, generator=rng)
    logits[:, 10:20] = -torch.inf
    targets = torch.tensor([3, 25, 39])
    loss, gradient = softmax_loss_and_gradient(logits.clone(), targets)
    true_loss, true_gradient = exact(logits, targets)
    assert loss.item() == pytest.approx(true_loss.item(), rel=1e-6)
    assert not gradient[:, 10:20].any()
    assert torch.allclose(gradient.double(), true_gradient, atol=1e-6)


def test_a_logit_that_is_no_number_makes_the_loss_none():
    for bad in (torch.nan, torch.inf):
        loss, _ = softmax_loss_and_gradient(torch.full((2, 20), bad), torch.tensor([0, 3]))
        assert not torch.isfinite(loss)


def test_a_target_outside_the_catalogue_is_refused():
    for target in (-1, 4):
        with pytest.raises(IndexError, match="0 to 3"):
            softmax_loss_and_gradient(torch.zeros(2, 4), torch.tensor([0, target]))
