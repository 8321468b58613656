"""The block by Triton kernels is the block: output, state, and the gradient by every parameter and input."""

import pytest
import torch

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.block import Block
from grela.ops.dropout import drop_path, static_drop_path
from triton_cases import assert_errs_no_more, kernel_device  # noqa: F401 - a fixture

pytest.importorskip("triton", reason="Triton is not installed")
from grela.nn.triton_block import triton_block, unsupported

LENGTHS = [3, 19, 1, 17]
WHOLE = {"dropout": 0.0, "drop_path": 0.0}


def model_of(device, dtype=torch.float32, **settings):
    """One layer of width 12; weights ten times their usual size, so that every branch shows."""
    config = RecGRELAConfig(**{"num_items": 30, "width": 12, "heads": 2, "layers": 1} | settings)
    model = RecGRELA(config, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("weight") and "norm" not in name:
                weight.mul_(10)
    return model.to(device, dtype)


def rows_of(device):
    """Two rows of several histories of which the first goes on: items, segments, positions."""
    segments = torch.arange(4).repeat_interleave(torch.tensor(LENGTHS))
    positions = torch.cat([torch.arange(n) for n in LENGTHS]) + 5 * (segments == 0)
    items = torch.randint(1, 31, (2, 40), generator=torch.Generator().manual_seed(1))
    return tuple(x.to(device) for x in (items, segments.expand(2, -1), positions.expand(2, -1)))


def before_of(model):
    """A state that something came before, so that it has gradients."""
    items = torch.tensor([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]], device=model.embedding.weight.device)
    at = torch.arange(5, device=items.device).expand(2, -1)
    return model(items, torch.zeros_like(at), at)[1]


def results(model, form, seed=None, **precision):
    device = model.embedding.weight.device
    rng = None if seed is None else torch.Generator(device).manual_seed(seed)
    model.zero_grad()
    before = before_of(model)
    with torch.autocast(device.type, torch.bfloat16, **{"enabled": False} | precision):
        hidden, state = model(*rows_of(device), before, rng, form)
    parts = {"hidden": hidden}
    for number, layer in enumerate(state.layers):
        parts |= {
            f"S {number}": layer.attention.S,
            f"z {number}": layer.attention.z,
            f"tail {number}": layer.tail,
        }
    draws = torch.Generator().manual_seed(7)
    total = sum(
        (x * torch.randn(x.shape, generator=draws, dtype=torch.float64).to(x)).sum() for x in parts.values()
    )
    total.backward()
    gradients = {f"gradient by {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: x.detach() for name, x in parts.items()} | gradients


@pytest.mark.parametrize(
    "ablated", [{}, {"rotation": False, "gate": False}, {"local_branch": False}], ids=str
)
def test_equals_the_block_in_values_state_and_gradients(ablated, kernel_device):  # noqa: F811
    model = model_of(kernel_device, **WHOLE, **ablated)
    fast, same = results(model, triton_block), results(model, Block.forward)
    exact = results(model_of(kernel_device, torch.float64, **WHOLE, **ablated), Block.forward)
    assert len(fast) > 20
    assert_errs_no_more(fast, same, exact, tolerance=1e-5)


def test_mixed_precision_errs_no_more_than_the_block_does(kernel_device):  # noqa: F811
    model = model_of(kernel_device, **WHOLE)
    fast, same = (results(model, form, enabled=True) for form in (triton_block, Block.forward))
    exact = results(model_of(kernel_device, torch.float64, **WHOLE), Block.forward)
    assert_errs_no_more(fast, same, exact, tolerance=2**-6)


def test_dropout_draws_what_the_block_draws(kernel_device):  # noqa: F811
    model = model_of(kernel_device, dropout=0.3, drop_path=0.0)
    fast, same = (results(model, form, seed=3) for form in (triton_block, Block.forward))
    undropped = results(model, triton_block)
    for name, x in same.items():
        torch.testing.assert_close(fast[name], x, rtol=1e-3, atol=1e-3 * x.abs().max().item())
    assert not torch.allclose(undropped["hidden"], fast["hidden"])


def test_static_drop_path_drops_whole_histories_and_one_row_the_same_as_drop_path():
    segments = torch.arange(500).repeat_interleave(3).unsqueeze(0)
    y = torch.ones(1, 1500, 2)
    found, expected = (
        f(y, 0.25, segments, torch.Generator().manual_seed(2)) for f in (static_drop_path, drop_path)
    )
    assert torch.equal(found, expected)
    two = static_drop_path(
        y.expand(2, -1, -1), 0.25, segments.expand(2, -1), torch.Generator().manual_seed(2)
    )
    assert torch.equal(two, two.unflatten(1, (500, 3))[:, :, :1].expand(-1, -1, 3, -1).flatten(1, 2))
    assert not torch.equal(two[0], two[1])
    assert static_drop_path(y, 0.25, segments, None) is y


def test_what_the_kernels_cannot_compute_is_said():
    model = model_of("cpu", torch.float64)
    assert unsupported(model.each_block()[0]) == "weights are torch.float64; Triton's kernels know float32"
    assert unsupported(model_of("cpu").each_block()[0]) is None
    wide = model_of("cpu", width=160, heads=2)
    assert unsupported(wide.each_block()[0]) == "a head is 80 wide; Triton's kernels know up to 64"
