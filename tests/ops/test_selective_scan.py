"""Every form of the selective scan equals the definition: values, last state and gradients, at awkward sizes."""

import importlib.util
import inspect
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from grela.ops.selective_scan import by_mamba_ssm, chunked, from_empty, naive, scan_for, step
from reference import naive_mamba4rec
from triton_cases import assert_errs_no_more

# Pairwise distinct, so that a transpose cannot hide.
S, E, N = 2, 3, 5
NAMES = ("x", "dt", "A", "B", "C", "state")


def draw(length: int, *, shift: float = -2.0, device: str = "cpu") -> tuple[Tensor, ...]:
    """Float64 x, dt, A, B, C and state; dt is softplus of normal numbers about `shift`."""
    rng = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(device)

    A = -(torch.arange(1, N + 1, device=device) * (0.3 * normal(E, N)).exp())
    dt = softplus(3 * normal(S, length, E) + shift)
    return normal(S, length, E), dt, A, normal(S, length, N), normal(S, length, N), normal(S, E, N)


def values_and_gradients(form, given: tuple[Tensor, ...], **options: int) -> dict[str, Tensor]:
    """y and what else `form` returns, and the gradients of a random sum of them by every argument."""
    leaves = [x.clone().requires_grad_() for x in given]
    results = form(*leaves, **options)
    results = results if isinstance(results, tuple) else (results,)
    rng = torch.Generator().manual_seed(99)
    total = sum((x * torch.randn(x.shape, generator=rng, dtype=torch.float64).to(x)).sum() for x in results)
    gradients = torch.autograd.grad(total, leaves)
    named = zip(("y", "last state"), (x.detach() for x in results), strict=False)
    return dict(named) | {f"gradient by {k}": v for k, v in zip(NAMES, gradients, strict=False)}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], *, tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert found[name].shape == x.shape, name
        assert (found[name] - x).abs().max() <= tolerance * max(1, x.abs().max()), name


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_definition_equals_numpys_loops(length):
    given = draw(length)
    y, last = naive(*given)
    x, dt, A, B, C, state = (part.numpy() for part in given)
    for s in range(S):
        expected = naive_mamba4rec.selective_scan(x[s], dt[s], A, B[s], C[s], state[s])
        np.testing.assert_allclose(y[s].numpy(), expected[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(last[s].numpy(), expected[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 4, 8])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 33])
def test_chunks_equal_the_definition(length, chunk):
    given = draw(length)
    expected = values_and_gradients(naive, given)
    assert_equal(values_and_gradients(chunked, given, chunk=chunk), expected, tolerance=1e-11)


def test_steps_equal_chunks_and_a_state_carried_across_a_cut_equals_one_pass():
    x, dt, A, B, C, state = draw(21)
    whole, last = chunked(x, dt, A, B, C, state)
    head, between = chunked(x[:, :9], dt[:, :9], A, B[:, :9], C[:, :9], state)
    rest, final = chunked(x[:, 9:], dt[:, 9:], A, B[:, 9:], C[:, 9:], between)
    torch.testing.assert_close(torch.cat((head, rest), 1), whole, rtol=1e-12, atol=1e-12)
    for t in range(21):
        y, state = step(x[:, t], dt[:, t], A, B[:, t], C[:, t], state)
        torch.testing.assert_close(y, whole[:, t], rtol=1e-12, atol=1e-12)
    for ours in (final, state):
        torch.testing.assert_close(ours, last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shift", [-6.0, 0.0, 30.0])
def test_float32_errs_no_more_than_the_definition_does(shift):
    """From states that are kept long to decays of e^-100 a position and less, which float32 does not hold."""
    exact = draw(100, shift=shift)
    single = tuple(x.float() for x in exact)
    assert shift < 30 or (single[1].amin() * single[2]).min() < -100
    # So that both errors are those of the computation, not of the arguments.
    expected = values_and_gradients(naive, tuple(x.double() for x in single))
    found, same = (values_and_gradients(form, single) for form in (chunked, naive))
    assert all(x.isfinite().all() for x in found.values())
    assert_errs_no_more(found, same, expected, tolerance=3e-6)


def test_no_decay_is_too_small_for_a_normal_number():
    """Products with such numbers take a hundred times as long; the definition has them here."""
    x, one = torch.zeros(S, 1, E), torch.ones(S, 1, N)
    dt, A, state = torch.full((S, 1, E), 95.0), torch.full((E, N), -1.0), torch.ones(S, E, N)
    tiny = torch.finfo(torch.float32).tiny
    _, denormal = naive(x, dt, A, one, one, state)
    assert 0 < denormal.min() <= denormal.max() < tiny
    _, kept = chunked(x, dt, A, one, one, state)
    assert tiny < kept.min() <= kept.max() < 1e-17


def test_memory_for_the_gradient_grows_with_chunks_not_with_positions():
    kept = []

    def count(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    given = [x.requires_grad_() for x in draw(64)]
    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        chunked(*given, chunk=16)
    states, inputs = 64 // 16 * S * E * N, 64 * S * (2 * E + 2 * N) + E * N
    assert sum(kept) == states + inputs


def stand_in(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
):
    """The package's function by its documented shapes: u and delta [S, E, T], A [E, N], B and C [S, N, T]."""
    for tensor, shape in ((u, (S, E)), (delta, (S, E)), (A, (E, N)), (B, (S, N)), (C, (S, N))):
        assert tensor.shape[:2] == shape
    h, outputs = torch.zeros_like(A).expand(S, -1, -1), []
    for t in range(u.shape[2]):
        h = torch.exp(torch.einsum("se,en->sen", delta[..., t], A)) * h
        h = h + torch.einsum("se,sn->sen", delta[..., t] * u[..., t], B[..., t])
        outputs.append(torch.einsum("sen,sn->se", h, C[..., t]))
    return torch.stack(outputs, 2)


def test_mamba_ssms_function_is_called_by_its_signature(monkeypatch):
    """The package needs a GPU; here a function of its signature stands in for it."""
    module = ModuleType("mamba_ssm.ops.selective_scan_interface")
    module.selective_scan_fn = stand_in
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    given = draw(7)[:5]
    expected = values_and_gradients(from_empty, given)
    assert_equal(values_and_gradients(by_mamba_ssm, given), expected, tolerance=1e-11)


@pytest.mark.parametrize("installed", [False, True])
def test_the_kernel_is_taken_on_cuda_where_it_is_installed(monkeypatch, installed):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    assert scan_for(torch.device("cpu")) is from_empty
    assert scan_for(torch.device("cuda", 0)) is (by_mamba_ssm if installed else from_empty)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_mamba_ssms_kernel_equals_chunks():
    interface = pytest.importorskip("mamba_ssm.ops.selective_scan_interface", reason="no mamba-ssm here")
    assert list(inspect.signature(interface.selective_scan_fn).parameters)[:5] == [
        "u",
        "delta",
        "A",
        "B",
        "C",
    ]
    for length in (1, 7, 200):
        given = tuple(x.float() for x in draw(length, device="cuda")[:5])
        expected = values_and_gradients(from_empty, tuple(x.double() for x in given))
        found, same = (values_and_gradients(form, given) for form in (by_mamba_ssm, from_empty))
        assert_errs_no_more(found, same, expected, tolerance=1e-4)
