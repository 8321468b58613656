"""Triton's softmax loss and gradient equal the eager ones, alone and within the full softmax loss."""

from functools import partial

import pytest
import torch

from grela.errors import ConfigError
from grela.ops.losses.softmax import Block, naive_softmax, softmax, softmax_loss_and_gradient
from grela.ops.losses.targets import Targets
from triton_cases import INTERPRETED, assert_errs_no_more, kernel_device  # noqa: F401 - a fixture

pytest.importorskip("triton", reason="Triton is not installed")
from grela.ops.triton import softmax as module
from grela.ops.triton.softmax import triton_softmax

# One rounding to bfloat16 as gradients are stored (the interpreter cuts off); some to float32.
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 2**-7 if INTERPRETED else 2**-8}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Less than a block of items, a block exactly, one more, and several; the block is set smaller than in use.
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("items", [2, 16, 17, 90])
def test_loss_and_gradient_equal_the_eager_ones(items, dtype, kernel_device, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "BLOCK", 16)
    logits = (3 * draw(7, items)).to(kernel_device, dtype)
    targets = torch.randint(items, (7,), generator=torch.Generator().manual_seed(1)).to(kernel_device)
    names = ("loss", "gradient")
    exact = dict(zip(names, softmax_loss_and_gradient(logits.double(), targets), strict=True))
    same = dict(zip(names, softmax_loss_and_gradient(logits.clone(), targets), strict=True))
    fast = dict(zip(names, triton_softmax(logits.clone(), targets), strict=True))
    assert fast["loss"].dtype == torch.float32
    assert fast["gradient"].dtype == dtype
    assert_errs_no_more(fast, same, exact, tolerance=TOLERANCES[dtype])


def test_extreme_logits_stay_finite(kernel_device):  # noqa: F811
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 1e30]], device=kernel_device)
    targets = torch.tensor([0, 0, 2], device=kernel_device)
    loss, gradient = triton_softmax(logits.clone(), targets)
    assert loss.item() == pytest.approx(2e4)
    expected = torch.tensor([[0.0, 0, 0], [-1, 1, 0], [0, 0, 0]], device=kernel_device)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6)


def test_an_infinitely_small_logit_is_no_candidate(kernel_device, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "BLOCK", 16)
    logits = draw(5, 40).float().to(kernel_device)
    out = torch.arange(40, device=kernel_device) % 3 == 1
    targets = torch.tensor([0, 2, 3, 5, 39], device=kernel_device)
    loss, gradient = triton_softmax(logits.masked_fill(out, -torch.inf), targets)
    assert not gradient[:, out].any()
    left = (~out).cumsum(0) - 1
    fewer, by_fewer = triton_softmax(logits[:, ~out].contiguous(), left[targets])
    torch.testing.assert_close(loss, fewer, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient[:, ~out], by_fewer, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_full_softmax_with_its_projection_equals_naive(dtype, kernel_device):  # noqa: F811
    hidden, weight = draw(23, 5).bfloat16(), draw(12, 5, seed=1).bfloat16()
    items = torch.randint(1, 12, (23,), generator=torch.Generator().manual_seed(2))
    targets, rng = Targets(items.to(kernel_device)), torch.Generator(kernel_device)

    def results(loss, dtype):
        leaves = {
            name: x.to(kernel_device, dtype).clone().requires_grad_()
            for name, x in (("hidden", hidden), ("weight", weight))
        }
        value = loss(*leaves.values(), targets, rng)
        value.backward()
        return {"loss": value.detach()} | {name: leaf.grad for name, leaf in leaves.items()}

    fast = partial(softmax, block=Block(7, 11), loss_and_gradient=triton_softmax)
    assert_errs_no_more(
        results(fast, dtype),
        results(naive_softmax, dtype),
        results(naive_softmax, torch.float64),
        tolerance=TOLERANCES[dtype],
    )


def test_float64_is_refused_with_advice():
    with pytest.raises(
        ConfigError, match=r"logits is torch\.float64; Triton kernels take float32 or bfloat16"
    ):
        triton_softmax(torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.int64))
