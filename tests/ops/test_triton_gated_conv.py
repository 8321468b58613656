"""Triton's convolution with SiLU and gate equals the same in PyTorch: values, tail, every gradient."""

import pytest
import torch
from attention_cases import random_segments
from torch.nn.functional import silu

from grela.ops.short_conv import short_conv
from triton_cases import INTERPRETED, assert_errs_no_more, kernel_device  # noqa: F401 - a fixture

pytest.importorskip("triton", reason="Triton is not installed")
from grela.ops.triton.gated_conv import triton_gated_conv

B, D = 2, 5
NAMES = ("attended", "value", "gate", "weight", "bias", "tail")
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 2**-7 if INTERPRETED else 2**-8}


def by_pytorch(attended, value, gate, weight, bias, segments, tail):
    """The definition, in the precision of its arguments."""
    local, tail = short_conv(value, weight, bias, segments, tail)
    return (attended + silu(local)) * silu(gate), tail


def draw_arguments(length, *, taps=4, width=D, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shapes = [(B, length, width)] * 3 + [(width, taps), (width,), (B, taps - 1, width)]
    given = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes]
    weights = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in (shapes[0], shapes[-1])]
    given = [x.bfloat16().double() for x in given]
    return dict(zip(NAMES, given, strict=True)), weights


def results(form, given, weights, segments, dtype, device, *, narrow=()):
    """Values and gradients with arguments of `dtype`, those named in `narrow` of bfloat16."""
    leaves = {
        name: x.to(device, torch.bfloat16 if name in narrow else dtype).clone().requires_grad_()
        for name, x in given.items()
    }
    *rest, tail = leaves.values()
    u, after = form(*rest, segments.to(device), tail)
    (u * weights[0].to(device, u.dtype)).sum().backward(retain_graph=True)
    if after.numel():
        (after * weights[1].to(device, after.dtype)).sum().backward()
    return {"u": u.detach(), "tail": after.detach()} | {
        f"gradient by {name}": leaf.grad for name, leaf in leaves.items()
    }


@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 2, 16, 35])
def test_equals_pytorch_in_values_tail_and_gradients(length, taps, kernel_device):  # noqa: F811
    given, weights = draw_arguments(length, taps=taps, seed=length)
    if taps == 1:
        given["tail"] = given["tail"].new_zeros(B, 0, D)
    segments = random_segments(torch.Generator().manual_seed(length), length, ends=0.2)
    rest = given, weights, segments
    fast = results(triton_gated_conv, *rest, torch.float32, kernel_device)
    same = results(by_pytorch, *rest, torch.float32, kernel_device)
    exact = results(by_pytorch, *rest, torch.float64, kernel_device)
    if taps == 1:
        for found in (fast, same, exact):
            found.pop("gradient by tail")
    assert_errs_no_more(fast, same, exact, tolerance=TOLERANCES[torch.float32])


def test_bfloat16_branches_err_no_more_than_in_pytorch(kernel_device):  # noqa: F811
    """As under mixed precision: value and gate in bfloat16, all else and every sum in float32; wider than a block."""
    given, weights = draw_arguments(20, width=37)
    segments = random_segments(torch.Generator().manual_seed(5), 20)
    rest = given, weights, segments
    fast = results(triton_gated_conv, *rest, torch.float32, kernel_device, narrow=("value", "gate"))
    same = results(by_pytorch, *rest, torch.bfloat16, kernel_device)
    exact = results(by_pytorch, *rest, torch.float64, kernel_device)
    assert fast["u"].dtype == fast["gradient by gate"].dtype == torch.bfloat16
    assert fast["gradient by weight"].dtype == fast["tail"].dtype == torch.float32
    assert_errs_no_more(fast, same, exact, tolerance=TOLERANCES[torch.bfloat16])


def test_the_tail_before_reaches_the_first_history_only(kernel_device):  # noqa: F811
    given, _ = draw_arguments(5)
    segments = torch.tensor([[0, 0, 1, 1, 1]] * B, device=kernel_device)
    *rest, tail = (x.float().to(kernel_device) for x in given.values())
    with_tail, _ = triton_gated_conv(*rest, segments, tail)
    without, _ = triton_gated_conv(*rest, segments, torch.zeros_like(tail))
    assert not torch.isclose(with_tail[:, :2], without[:, :2]).any()
    assert torch.equal(with_tail[:, 2:], without[:, 2:])
