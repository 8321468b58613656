"""The recurrence in chunks equals one step after the other: values, last state and gradients, at awkward sizes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from grela.ops.linear_recurrence import naive, parallel

S, H = 2, 3


def draw(length: int, *, dtype: torch.dtype = torch.complex128) -> tuple[Tensor, Tensor, Tensor]:
    """u [S, T, H], decay [H] of sizes up to 1, and a state [S, H]."""
    rng = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.complex128)

    decay = torch.polar(torch.tensor([1e-3, 0.8, 1.0]).double(), 6 * torch.rand(H, generator=rng).double())
    return normal(S, length, H).to(dtype), decay.to(dtype), normal(S, H).to(dtype)


def values_and_gradients(form, given: tuple[Tensor, ...]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in given]
    results = form(*leaves)
    rng = torch.Generator().manual_seed(99)
    # Real and imaginary parts weigh differently, so that a forgotten conjugate shows.
    total = sum(
        (torch.view_as_real(x) * torch.randn(*x.shape, 2, generator=rng, dtype=x.real.dtype)).sum()
        for x in results
    )
    return [*results, *torch.autograd.grad(total, leaves)]


def test_the_definition_equals_numpys_sums():
    """h_t = decay^(t + 1) state + sum_{s <= t} decay^(t - s) u_s."""
    u, decay, state = draw(9)
    found, last = naive(u, decay, state)
    for t in range(9):
        expected = decay.numpy() ** (t + 1) * state.numpy()
        for s in range(t + 1):
            expected = expected + decay.numpy() ** (t - s) * u[:, s].numpy()
        np.testing.assert_allclose(found[:, t].numpy(), expected, rtol=1e-12)
    assert torch.equal(last, found[:, -1])


@pytest.mark.parametrize("chunk", [1, 4, 16])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 15, 16, 17, 33, 100])
def test_chunks_equal_steps(length, chunk):
    given = draw(length)
    expected = values_and_gradients(naive, given)
    found = values_and_gradients(lambda *x: parallel(*x, chunk=chunk), given)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-11 * max(1, theirs.abs().max())


def test_a_state_carried_across_a_cut_equals_one_pass():
    u, decay, state = draw(21)
    whole, last = parallel(u, decay, state)
    head, between = parallel(u[:, :9], decay, state)
    rest, final = parallel(u[:, 9:], decay, between)
    torch.testing.assert_close(torch.cat((head, rest), 1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(final, last, rtol=1e-12, atol=1e-12)


def test_float32_errs_no_more_than_steps_do():
    """A decay of 1e-3 to the 500th power is 0 in float32, and nothing is divided by it."""
    exact, single = draw(500), draw(500, dtype=torch.complex64)
    expected = values_and_gradients(naive, exact)
    errors = [
        [
            (x - y).abs().max().item()
            for x, y in zip(values_and_gradients(form, single), expected, strict=True)
        ]
        for form in (parallel, naive)
    ]
    sizes = [x.abs().max().item() for x in expected]
    for ours, theirs, size in zip(*errors, sizes, strict=True):
        assert ours <= 2 * theirs + 1e-6 * size
