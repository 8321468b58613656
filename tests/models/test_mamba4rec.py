"""Mamba4Rec equals numpy's loops, begins as its authors have it, and takes the scan that its device has."""

import importlib.util
from functools import partial

import pytest
import torch
from recurrent_cases import (
    ITEMS,
    assert_bfloat16_changes_little,
    assert_equals_loops,
    histories,
    trained_size,
)

from grela.models.mamba4rec import Mamba4Rec, Mamba4RecConfig
from grela.ops.selective_scan import by_mamba_ssm, from_empty
from reference import naive_mamba4rec


def model(seed: int = 0, **settings: int) -> Mamba4Rec:
    config = Mamba4RecConfig(**({"width": 6, "state": 5, "taps": 3} | settings))
    return Mamba4Rec(ITEMS, config, rng=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("width", [6, 18])
def test_equals_the_loops_alone_without_and_stacked_with_residuals(width, layers):
    made = trained_size(model(width=width, layers=layers))
    assert made.layers[0].mamba.rank == {6: 1, 18: 2}[width]
    assert_equals_loops(made, partial(naive_mamba4rec.hidden, layers=layers))


@torch.no_grad()
def test_steps_give_what_a_whole_history_does():
    made = trained_size(model())
    block, x = made.layers[0].mamba, torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(3)).double()
    state, found = block.empty_state(2), []
    for t in range(9):
        y, state = block.step(x[:, t], state)
        found.append(y)
    torch.testing.assert_close(torch.stack(found, 1), block(x, made.scan), rtol=1e-12, atol=1e-12)
    assert state.scan.shape == (2, 12, 5)
    assert state.tail.shape == (2, 2, 12)


def test_products_in_bfloat16_change_little():
    assert_bfloat16_changes_little(trained_size(model()))


@torch.no_grad()
def test_the_scan_begins_as_mambas_and_its_step_sizes_as_the_authors_of_mamba4rec_have_them():
    block = model(width=400, state=7).layers[0].mamba
    torch.testing.assert_close(block.log_A.exp(), torch.arange(1.0, 8).expand(800, 7))
    assert (block.skip == 1).all()
    assert block.dt.weight.shape == (800, 25)  # width / 16
    assert block.dt.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert (block.dt.bias == 0).all()


def test_a_cpu_has_the_scan_in_chunks():
    assert model().scan is from_empty
    assert model().double().scan is from_empty


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@torch.no_grad()
def test_moved_to_a_gpu_it_takes_the_kernel_where_that_is_installed_and_gives_the_same():
    made, given = trained_size(model()).float(), histories(9, 4)
    expected = made.last_hidden(given)
    moved = made.to("cuda")
    installed = importlib.util.find_spec("mamba_ssm") is not None
    assert moved.scan is (by_mamba_ssm if installed else from_empty)
    found = moved.last_hidden(given.to(torch.device("cuda"))).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
