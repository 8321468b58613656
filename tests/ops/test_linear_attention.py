"""The four forms of the causal sum answer to its definition, in values, final state and every gradient."""

import pytest
import torch
from attention_cases import (
    LENGTHS,
    Arguments,
    B,
    H,
    K,
    V,
    arguments,
    assert_equal,
    random_segments,
    values_and_gradients,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.ops.linear_attention import AttentionState, chunked, empty_state, naive, recurrent, step
from grela.ops.linear_attention.chunked import _Carry


def by_steps(q, k, q_rot, k_rot, v, segments, state):
    """One `step` a position; for rows of one history."""
    assert (segments == segments[:, :1]).all()
    outputs = []
    for t in range(q.shape[1]):
        out, state = step(q[:, t], k[:, t], q_rot[:, t], k_rot[:, t], v[:, t], state)
        outputs.append(out)
    return torch.stack(outputs, 1), state


def test_naive_is_the_formula_position_by_position():
    a = arguments(7, segments=torch.tensor([[0, 0, 0, 1, 1, 2, 2], [4, 4, 4, 4, 4, 4, 4]]))
    out, final = naive(*a.inputs, a.segments, a.state)
    for b in range(B):
        for h in range(H):
            S, z = a.S[b, h].clone(), a.z[b, h].clone()
            for t in range(7):
                if t > 0 and a.segments[b, t] != a.segments[b, t - 1]:
                    S, z = torch.zeros_like(S), torch.zeros_like(z)
                S += torch.outer(a.k_rot[b, t, h], a.v[b, t, h])
                z += a.k[b, t, h]
                expected = a.q_rot[b, t, h] @ S / (a.q[b, t, h] @ z + 1e-6)
                torch.testing.assert_close(out[b, t, h], expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(final.S[b, h], S, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(final.z[b, h], z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 32])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunked_equals_naive(length, chunk, device):
    a = arguments(length, seed=length, device=device)
    assert_equal(values_and_gradients(chunked, a, chunk=chunk), values_and_gradients(naive, a))


@pytest.mark.parametrize("length", LENGTHS)
def test_recurrent_equals_naive(length, device):
    a = arguments(length, seed=length, device=device)
    assert_equal(values_and_gradients(recurrent, a), values_and_gradients(naive, a))


@pytest.mark.parametrize("length", [1, 2, 33])
def test_step_equals_naive(length, device):
    one_history = torch.zeros(B, length, dtype=torch.int64, device=device)
    a = arguments(length, seed=length, device=device, segments=one_history)
    assert_equal(values_and_gradients(by_steps, a), values_and_gradients(naive, a))


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 70),
    chunk=st.integers(1, 40),
    ends=st.sampled_from([0.0, 0.03, 0.3, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_chunked_equals_naive_for_any_length_chunk_and_segments(length, chunk, ends, seed):
    segments = random_segments(torch.Generator().manual_seed(seed), length, ends=ends)
    a = arguments(length, seed=seed, segments=segments)
    assert_equal(values_and_gradients(chunked, a, chunk=chunk), values_and_gradients(naive, a))


# Histories of these lengths fill one row: shorter and longer than a chunk, ending on its edge and beside it.
PACKED = (3, 29, 1, 40, 27)


def packed(seed: int = 0) -> tuple[Arguments, list[slice]]:
    lengths = torch.tensor(PACKED)
    segments = torch.arange(len(PACKED)).repeat_interleave(lengths).expand(B, -1)
    ends = lengths.cumsum(0).tolist()
    places = [slice(end - length, end) for end, length in zip(ends, PACKED, strict=True)]
    return arguments(sum(PACKED), seed=seed, segments=segments, empty=True), places


@pytest.mark.parametrize("form", [chunked, recurrent])
def test_packed_histories_equal_each_alone(form):
    a, places = packed()
    together = values_and_gradients(form, a)
    rng = torch.Generator().manual_seed(99)
    weights = torch.randn(together["out"].shape, generator=rng, dtype=torch.float64)
    for place in places:
        alone = [x[:, place].clone().requires_grad_() for x in a.inputs]
        out, final = naive(*alone, a.segments[:, place], a.state)
        torch.testing.assert_close(together["out"][:, place], out, rtol=1e-12, atol=1e-12)
        if place is places[-1]:
            torch.testing.assert_close(together["final S"], final.S, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(together["final z"], final.z, rtol=1e-12, atol=1e-12)
            continue
        (out * weights[:, place]).sum().backward()
        for name, leaf in zip(("q", "k", "q_rot", "k_rot", "v"), alone, strict=True):
            expected = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
            torch.testing.assert_close(
                together[f"gradient by {name}"][:, place], expected, rtol=1e-11, atol=1e-11
            )


@pytest.mark.parametrize("form", [chunked, recurrent])
@pytest.mark.parametrize("changed", range(len(PACKED)))
def test_a_changed_history_leaves_its_neighbours_bit_identical(form, changed):
    a, places = packed()
    before = values_and_gradients(form, a)
    for x in a.inputs:
        x[:, places[changed]] *= 1e3
    after = values_and_gradients(form, a)
    per_position = [name for name, x in before.items() if x.shape[:2] == (B, sum(PACKED))]
    assert len(per_position) == 6
    for place in places[:changed] + places[changed + 1 :]:
        for name in per_position:
            assert torch.equal(before[name][:, place], after[name][:, place]), name
    assert not torch.equal(before["out"][:, places[changed]], after["out"][:, places[changed]])
    if changed < len(PACKED) - 1:
        assert torch.equal(before["final S"], after["final S"])
        assert torch.equal(before["final z"], after["final z"])


def test_the_initial_state_reaches_the_first_history_only():
    a, places = packed()
    full = arguments(sum(PACKED), segments=a.segments)
    with_state, _ = chunked(*a.inputs, a.segments, full.state)
    without, _ = chunked(*a.inputs, a.segments, a.state)
    assert not torch.isclose(with_state[:, places[0]], without[:, places[0]]).all()
    for place in places[1:]:
        assert torch.equal(with_state[:, place], without[:, place])


@pytest.mark.parametrize("form", [naive, chunked, recurrent])
@pytest.mark.parametrize("cut", [1, 31, 32, 33, 99])
def test_state_carried_across_a_cut_equals_one_pass(form, cut):
    a = arguments(100, seed=cut)

    def in_two(q, k, q_rot, k_rot, v, segments, state):
        row = (q, k, q_rot, k_rot, v)
        head, state = form(*(x[:, :cut] for x in row), segments[:, :cut], state)
        # The state belongs to the segment it came from: where the cut is also an end, nothing is carried.
        goes_on = (segments[:, cut] == segments[:, cut - 1]).to(state.S.dtype)
        state = AttentionState(state.S * goes_on[:, None, None, None], state.z * goes_on[:, None, None])
        tail, state = form(*(x[:, cut:] for x in row), segments[:, cut:], state)
        return torch.cat((head, tail), 1), state

    assert_equal(values_and_gradients(in_two, a), values_and_gradients(naive, a))


def test_state_is_all_that_the_past_contributes():
    """Two pasts with equal sums are one past to the future: here the same events in another order."""
    one_history = torch.zeros(B, 45, dtype=torch.int64)
    a = arguments(45, segments=one_history)
    past, future = slice(0, 20), slice(20, 45)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    shuffled = [torch.cat((x[:, past][:, order], x[:, future]), 1) for x in a.inputs]
    out, final = chunked(*a.inputs, one_history, a.state)
    other, other_final = chunked(*shuffled, one_history, a.state)
    assert not torch.isclose(out[:, past], other[:, past]).all()
    torch.testing.assert_close(out[:, future], other[:, future], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(final.S, other_final.S, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(final.z, other_final.z, rtol=1e-12, atol=1e-12)


def test_the_future_never_reaches_the_past():
    a = arguments(50, segments=torch.zeros(B, 50, dtype=torch.int64))
    before, _ = chunked(*a.inputs, a.segments, a.state)
    for x in a.inputs:
        x[:, 37:] *= -7.0
    after, _ = chunked(*a.inputs, a.segments, a.state)
    assert torch.equal(before[:, :37], after[:, :37])
    assert not torch.isclose(before[:, 37:], after[:, 37:]).any()


def test_gradient_of_the_carry_is_that_of_finite_differences():
    rng = torch.Generator().manual_seed(0)
    added = torch.randn(2, 5, 7, generator=rng, dtype=torch.float64, requires_grad=True)
    keep = (torch.rand(2, 5, generator=rng) < 0.6).to(torch.float64)
    initial = torch.randn(2, 7, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_Carry.apply, (added, keep, initial))


def test_the_empty_state_is_zero_and_at_least_float32():
    for given_dtype, expected in (
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        state = empty_state(B, H, K, V, like=torch.zeros(1, dtype=given_dtype))
        assert state.S.shape == (B, H, K, V)
        assert state.z.shape == (B, H, K)
        assert state.S.dtype == state.z.dtype == expected
        assert not state.S.any()
        assert not state.z.any()
