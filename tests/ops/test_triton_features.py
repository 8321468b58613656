"""Triton's features equal elu(x) + 1 and its rotation, half by half: values and gradient."""

import pytest
import torch

from grela.ops.feature_map import positive_features
from grela.ops.rotary import rotate, rotation
from triton_cases import INTERPRETED, assert_errs_no_more, kernel_device  # noqa: F401 - a fixture

pytest.importorskip("triton", reason="Triton is not installed")
from grela.ops.triton.features import triton_features

TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 2**-7 if INTERPRETED else 2**-8}


def by_pytorch(x, turns):
    features = positive_features(x)
    return features, torch.cat([rotate(half, turns) for half in features.chunk(2, -1)], -1)


def results(form, x, turns, weights):
    leaf = x.clone().requires_grad_()
    found = form(leaf, turns)
    sum((y * w.to(y.dtype)).sum() for y, w in zip(found, weights, strict=True)).backward()
    return {"features": found[0].detach(), "rotated": found[1].detach(), "gradient": leaf.grad}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("length", "width"), [(1, 2), (17, 6), (9, 70)])
def test_equals_pytorch_in_values_and_gradient(length, width, dtype, kernel_device):  # noqa: F811
    rng = torch.Generator().manual_seed(width)
    x = (3 * torch.randn(2, length, 2 * width, generator=rng)).bfloat16().to(kernel_device)
    weights = [torch.randn(x.shape, generator=rng, dtype=torch.float64).to(kernel_device) for _ in range(2)]
    positions = (torch.arange(length, device=kernel_device) * 7).expand(2, -1)
    exact, narrow = (rotation(positions, width, dtype=kind) for kind in (torch.complex128, torch.complex64))
    fast = results(triton_features, x.to(dtype), narrow, weights)
    assert fast["features"].dtype == fast["rotated"].dtype == torch.float32
    assert fast["gradient"].dtype == dtype
    assert_errs_no_more(
        fast,
        results(by_pytorch, x.float(), narrow, weights),
        results(by_pytorch, x.double(), exact, weights),
        tolerance=TOLERANCES[dtype],
    )


def test_large_arguments_stay_finite(kernel_device):  # noqa: F811
    x = torch.tensor([[[-1e4, 1e4, -1e4, 1e4]]], device=kernel_device)
    turns = rotation(torch.tensor([[0]], device=kernel_device), 2)
    features, rotated = triton_features(x, turns)
    assert torch.equal(features, positive_features(x))
    assert torch.equal(rotated, features)
