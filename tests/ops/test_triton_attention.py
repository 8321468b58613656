"""Triton's causal attention errs no more than naive does in the same precision: values, state, every gradient."""

import pytest
import torch
from attention_cases import random_segments

from grela.errors import ConfigError
from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import AttentionState, empty_state, naive
from triton_cases import INTERPRETED, assert_errs_no_more, kernel_device  # noqa: F401 - a fixture

pytest.importorskip("triton", reason="Triton is not installed")
from grela.ops.triton import attention
from grela.ops.triton.attention import triton_attention

INPUTS = ("q", "k", "q_rot", "k_rot", "v")
# One rounding to bfloat16, of values and gradients as they are stored (the interpreter cuts off where a GPU
# rounds to nearest); some roundings to float32, of sums.
TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 2**-7 if INTERPRETED else 2**-8}
B, H = 2, 3


def draw_arguments(length, keys, values, *, seed=0, batch=B, heads=H):
    """Float64 arguments that bfloat16 holds exactly, the state's too, and weights of a sum of all results."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    arguments = {name: draw(batch, length, heads, keys) for name in INPUTS[:4]}
    arguments |= {"v": draw(batch, length, heads, values), "S": draw(batch, heads, keys, values)}
    arguments |= {"z": positive_features(draw(batch, heads, keys))}
    for name in ("q", "k"):
        arguments[name] = positive_features(arguments[name])
    weights = draw(batch, length, heads, values), draw(batch, heads, keys, values), draw(batch, heads, keys)
    return {name: x.bfloat16().double() for name, x in arguments.items()}, weights


def results(form, given, weights, segments, dtype, device, *, state_dtype=None, **options):
    """Values and gradients of `form` with inputs of `dtype`."""
    leaves = {
        name: x.to(device, (state_dtype or dtype) if name in "Sz" else dtype).clone().requires_grad_()
        for name, x in given.items()
    }
    *inputs, S, z = leaves.values()
    out, final = form(*inputs, segments.to(device), AttentionState(S, z), **options)
    found = {"out": out, "final S": final.S, "final z": final.z}
    sum((x * w.to(x.device, x.dtype)).sum() for x, w in zip(found.values(), weights, strict=True)).backward()
    return {name: x.detach() for name, x in found.items()} | {
        f"gradient by {name}": x.grad for name, x in leaves.items()
    }


def assert_equal_to_naive(device, dtype, given, weights, segments, **options):
    fast = results(
        triton_attention, given, weights, segments, dtype, device, state_dtype=torch.float32, **options
    )
    same = results(naive, given, weights, segments, dtype, device)
    exact = results(naive, given, weights, segments, torch.float64, device)
    assert fast["out"].dtype == dtype
    assert fast["final S"].dtype == fast["gradient by S"].dtype == torch.float32
    assert_errs_no_more(fast, same, exact, tolerance=TOLERANCES[dtype])


@pytest.mark.parametrize(
    ("length", "dtype"),
    [(length, torch.float32) for length in (1, 16, 33)] + [(17, torch.bfloat16)],
)
def test_equals_naive_at_any_length(length, dtype, kernel_device):  # noqa: F811
    given, weights = draw_arguments(length, 4, 5, seed=length)
    segments = random_segments(torch.Generator().manual_seed(length), length)
    assert_equal_to_naive(kernel_device, dtype, given, weights, segments, chunk=16)


@pytest.mark.parametrize(
    ("width", "dtype"), [(8, torch.float32), (16, torch.bfloat16), (32, torch.float32), (32, torch.bfloat16)]
)
def test_equals_naive_at_any_head_width(width, dtype, kernel_device):  # noqa: F811
    given, weights = draw_arguments(50, width, width, seed=width, batch=1, heads=2)
    segments = random_segments(torch.Generator().manual_seed(1), 50, batch=1, ends=0.05)
    assert_equal_to_naive(kernel_device, dtype, given, weights, segments)


@pytest.mark.parametrize(("length", "ends"), [(270, 0.02), (40, 0.0), (20, 1.0)])
def test_equals_naive_across_many_chunks(length, ends, kernel_device, monkeypatch):  # noqa: F811
    """More chunks than the carry sums at once; histories of a few chunks, one of all, and of one event."""
    monkeypatch.setattr(attention, "CARRY_SLOTS", 16)
    given, weights = draw_arguments(length, 3, 2, batch=1, heads=1)
    segments = random_segments(torch.Generator().manual_seed(2), length, batch=1, ends=ends)
    assert_equal_to_naive(kernel_device, torch.float32, given, weights, segments, chunk=16)


def test_a_changed_history_leaves_its_neighbours_bit_identical(kernel_device):  # noqa: F811
    lengths = [3, 29, 1, 20, 11]
    segments = torch.arange(5).repeat_interleave(torch.tensor(lengths)).unsqueeze(0)
    given, weights = draw_arguments(64, 4, 5, batch=1, heads=2)
    before = results(triton_attention, given, weights, segments, torch.float32, kernel_device, chunk=16)
    place = slice(32, 33)
    for name in INPUTS:
        given[name][:, place] *= 1e3
    after = results(triton_attention, given, weights, segments, torch.float32, kernel_device, chunk=16)
    elsewhere = [t for t in range(64) if not 32 <= t < 33]
    for name in ("out", *(f"gradient by {x}" for x in INPUTS)):
        assert torch.equal(before[name][:, elsewhere], after[name][:, elsewhere]), name
    assert not torch.equal(before["out"][:, place], after["out"][:, place])
    assert torch.equal(before["final S"], after["final S"])


def test_views_are_taken_as_they_lie(kernel_device):  # noqa: F811
    """Halves of one projection, as a layer makes them, and a segment row that is expanded, not stored."""
    rng = torch.Generator().manual_seed(3)
    both = torch.randn(B, 20, 2 * H * 4, generator=rng).to(kernel_device).exp()
    q, k = (x.unflatten(-1, (H, 4)) for x in both.chunk(2, -1))
    segments = torch.zeros(1, 20, dtype=torch.int64, device=kernel_device).expand(B, -1)
    state = empty_state(B, H, 4, 4, like=both)
    found, _ = triton_attention(q, k, q, k, k, segments, state, chunk=16)
    expected, _ = naive(q, k, q, k, k, segments, state)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_two_runs_are_bit_identical(kernel_device):  # noqa: F811
    given, weights = draw_arguments(30, 4, 5, batch=1)
    segments = random_segments(torch.Generator().manual_seed(4), 30, batch=1)
    first, second = (
        results(triton_attention, given, weights, segments, torch.float32, kernel_device, chunk=16)
        for _ in range(2)
    )
    for name, x in first.items():
        assert torch.equal(x, second[name]), name


def test_float64_is_refused_with_advice():
    x = torch.zeros(1, 2, 1, 4, dtype=torch.float64)
    state = empty_state(1, 1, 4, 4, like=x)
    with pytest.raises(ConfigError, match=r"q is torch\.float64; Triton kernels take float32 or bfloat16"):
        triton_attention(x, x, x, x, x, torch.zeros(1, 2, dtype=torch.int64), state)
