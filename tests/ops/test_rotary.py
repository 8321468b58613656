"""Rotation keeps norms, knows distances only, and stays exact at positions that float32 could not tell apart."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.ops.rotary import TABLE, rotate, rotate_naive, rotation

WIDTH = 12


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def exact(positions: torch.Tensor, width: int = WIDTH) -> torch.Tensor:
    """The turns in complex128, for laws to be checked in float64."""
    return rotation(positions, width, dtype=torch.complex128)


def test_rotate_equals_its_definition(device):
    positions = torch.tensor([0, 1, 2, 31, 32, 1000, 10**6], device=device)
    x = draw(7, WIDTH).to(device)
    # Elsewhere than on a CPU the two draw their paces from powers that differ in the last place: so many turns of it.
    tolerance = 1e-13 if device.type == "cpu" else 10**6 * torch.finfo(torch.float64).eps
    torch.testing.assert_close(
        rotate(x, exact(positions)), rotate_naive(x, positions), rtol=tolerance, atol=tolerance
    )


def test_leading_axes_are_independent():
    positions = torch.tensor([[0, 1, 2], [5, 6, 7]])
    x = draw(2, 3, WIDTH)
    together = rotate(x, exact(positions))
    for b in range(2):
        torch.testing.assert_close(together[b], rotate_naive(x[b], positions[b]), rtol=1e-13, atol=1e-13)


def test_pair_i_turns_by_its_own_angle():
    """Pair i of a row of (1, 0) pairs becomes (cos, sin) of t * 10000^(-2 i / D)."""
    x = torch.tensor([1.0, 0.0], dtype=torch.float64).repeat(WIDTH // 2)
    turned = rotate(x, exact(torch.tensor(3)))
    for i in range(WIDTH // 2):
        angle = 3 * 10_000 ** (-2 * i / WIDTH)
        assert turned[2 * i].item() == pytest.approx(np.cos(angle), rel=1e-14)
        assert turned[2 * i + 1].item() == pytest.approx(np.sin(angle), rel=1e-14)


def test_rotation_keeps_every_pairs_norm():
    x = draw(5, WIDTH)
    turned = rotate(x, exact(torch.tensor([0, 1, 17, 999, 10**6])))
    torch.testing.assert_close(
        turned.unflatten(-1, (-1, 2)).norm(dim=-1), x.unflatten(-1, (-1, 2)).norm(dim=-1), rtol=1e-13, atol=0
    )


@settings(max_examples=50, deadline=None)
@given(
    t=st.integers(0, 100_000),
    s=st.integers(0, 100_000),
    shift=st.integers(0, 1_000_000),
    seed=st.integers(0, 1000),
)
def test_products_depend_on_the_distance_alone(t, s, shift, seed):
    q, k = draw(2, WIDTH, seed=seed)
    here = rotate(q, exact(torch.tensor(t))) @ rotate(k, exact(torch.tensor(s)))
    there = rotate(q, exact(torch.tensor(t + shift))) @ rotate(k, exact(torch.tensor(s + shift)))
    # Angles of up to 10**6 are formed to half an ulp, 6e-11; products of norm about WIDTH carry that.
    torch.testing.assert_close(here, there, rtol=0, atol=1e-8)


def test_products_do_depend_on_the_distance():
    q, k = draw(2, WIDTH)
    near = rotate(q, exact(torch.tensor(10))) @ rotate(k, exact(torch.tensor(9)))
    far = rotate(q, exact(torch.tensor(10))) @ rotate(k, exact(torch.tensor(2)))
    assert abs(near - far) > 1e-2


def test_float32_at_position_a_million_agrees_with_float64():
    """Angles in float32 would be off by 0.06 there; formed in float64 and rounded once, by float32's rounding."""
    positions = torch.tensor([10**5, 10**6 - 1, 10**6, 10**6 + 1])
    x = draw(4, WIDTH, dtype=torch.float32)
    found = rotate(x, rotation(positions, WIDTH))
    assert found.dtype == torch.float32
    angles = positions.numpy()[:, None] * 10_000.0 ** (-np.arange(0, WIDTH, 2) / WIDTH)
    wide = x.double().numpy()
    expected = np.empty_like(wide)
    expected[:, 0::2] = wide[:, 0::2] * np.cos(angles) - wide[:, 1::2] * np.sin(angles)
    expected[:, 1::2] = wide[:, 0::2] * np.sin(angles) + wide[:, 1::2] * np.cos(angles)
    # Two products and a sum of values up to about 3: a few float32 roundings of 6e-8 each. Measured: 2e-7.
    assert np.abs(found.numpy() - expected).max() < 1e-6


def test_gradient_turns_back():
    """A rotation's transpose is its inverse: the gradient of w . rotate(x) by x is w turned the other way."""
    x, w = draw(WIDTH).requires_grad_(), draw(WIDTH, seed=1)
    turns = exact(torch.tensor(7))
    (rotate(x, turns) * w).sum().backward()
    torch.testing.assert_close(x.grad, rotate(w, turns.conj()), rtol=1e-13, atol=1e-13)


def test_turns_looked_up_are_turns_formed():
    """The same bits, on both sides of the table's end and where a call has positions of both."""
    for positions in (
        torch.arange(TABLE),
        torch.tensor([TABLE - 1, TABLE]),
        torch.tensor([[3, 0], [7, TABLE + 1]]),
    ):
        for dtype in (torch.complex64, torch.complex128):
            formed = torch.stack(
                [
                    rotation(torch.stack((p, p.new_tensor(TABLE))), 6, dtype=dtype)[0]
                    for p in positions.flatten()[-9:]
                ]
            )
            assert torch.equal(rotation(positions, 6, dtype=dtype).reshape(-1, 3)[-9:], formed)


def test_a_table_first_asked_for_in_inference_serves_training():
    with torch.inference_mode():
        rotation(torch.arange(3), 14)
    x = torch.ones(3, 14, requires_grad=True)
    rotate(x, rotation(torch.arange(3), 14)).sum().backward()
    assert x.grad is not None
