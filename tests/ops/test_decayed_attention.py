"""Linear attention with a decaying state: the four forms answer to their definition, gradients included."""

import pytest
import torch
from attention_cases import LENGTHS, B, H, K, arguments, assert_equal, values_and_gradients

from grela.ops.linear_attention import AttentionState, chunked, naive, recurrent, step
from grela.ops.linear_attention.chunked import _DecayedCarry


def log_decays(seed: int = 5) -> torch.Tensor:
    """One rate a head and key channel, from hardly any to a factor of e a position."""
    return -torch.rand(H, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def results(form, given, log_decay=None, **options):
    """`values_and_gradients`, the decay's gradient among them."""
    leaf = (log_decays() if log_decay is None else log_decay).requires_grad_()
    return values_and_gradients(form, given, log_decay=leaf, **options) | {"gradient by decay": leaf.grad}


def by_steps(q, k, q_rot, k_rot, v, segments, state, *, log_decay):
    """One `step` a position; for rows of one history."""
    assert (segments == segments[:, :1]).all()
    outputs = []
    for t in range(q.shape[1]):
        now = (x[:, t] for x in (q, k, q_rot, k_rot, v))
        out, state = step(*now, state, log_decay=log_decay)
        outputs.append(out)
    return torch.stack(outputs, 1), state


def test_naive_is_the_formula_position_by_position():
    a, decay = arguments(7, segments=torch.tensor([[0, 0, 0, 1, 1, 2, 2], [4] * 7])), log_decays().exp()
    out, final = naive(*a.inputs, a.segments, a.state, log_decay=log_decays())
    for b in range(B):
        for h in range(H):
            S, z = a.S[b, h].clone(), a.z[b, h].clone()
            for t in range(7):
                if t > 0 and a.segments[b, t] != a.segments[b, t - 1]:
                    S, z = torch.zeros_like(S), torch.zeros_like(z)
                S = decay[h].unsqueeze(1) * S + torch.outer(a.k_rot[b, t, h], a.v[b, t, h])
                z = decay[h] * z + a.k[b, t, h]
                expected = a.q_rot[b, t, h] @ S / (a.q[b, t, h] @ z + 1e-6)
                torch.testing.assert_close(out[b, t, h], expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(final.S[b, h], S, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(final.z[b, h], z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_equals_naive(length, chunk):
    a = arguments(length, seed=length)
    assert_equal(results(chunked, a, chunk=chunk), results(naive, a))


@pytest.mark.parametrize("length", LENGTHS)
def test_recurrent_equals_naive(length):
    a = arguments(length, seed=length)
    assert_equal(results(recurrent, a), results(naive, a))


@pytest.mark.parametrize("length", [1, 2, 33])
def test_step_equals_naive(length):
    a = arguments(length, seed=length, segments=torch.zeros(B, length, dtype=torch.int64))
    assert_equal(results(by_steps, a), results(naive, a))


@pytest.mark.parametrize("form", [naive, chunked, recurrent])
@pytest.mark.parametrize("cut", [1, 31, 32, 33, 99])
def test_state_carried_across_a_cut_equals_one_pass(form, cut):
    a = arguments(100, seed=cut)

    def in_two(q, k, q_rot, k_rot, v, segments, state, *, log_decay):
        row = (q, k, q_rot, k_rot, v)
        head, state = form(*(x[:, :cut] for x in row), segments[:, :cut], state, log_decay=log_decay)
        goes_on = (segments[:, cut] == segments[:, cut - 1]).to(state.S.dtype)
        state = AttentionState(state.S * goes_on[:, None, None, None], state.z * goes_on[:, None, None])
        tail, state = form(*(x[:, cut:] for x in row), segments[:, cut:], state, log_decay=log_decay)
        return torch.cat((head, tail), 1), state

    assert_equal(results(in_two, a), results(naive, a))


@pytest.mark.parametrize("form", [naive, chunked, recurrent])
def test_without_decay_it_is_the_plain_sum(form):
    a = arguments(40)
    found = results(form, a, torch.zeros(H, K, dtype=torch.float64))
    del found["gradient by decay"]
    assert_equal(found, values_and_gradients(naive, a))


def test_gradient_of_the_decayed_carry_is_that_of_finite_differences():
    rng = torch.Generator().manual_seed(0)
    added, decay, initial = (
        torch.randn(*shape, generator=rng, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 5, 7), (5, 7), (2, 7))
    )
    keep = (torch.rand(2, 5, generator=rng) < 0.6).to(torch.float64)
    assert torch.autograd.gradcheck(_DecayedCarry.apply, (added, keep, decay, initial))
