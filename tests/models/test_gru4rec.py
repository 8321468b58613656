"""GRU4Rec equals numpy's loops, and begins as PyTorch's unit does, from the given generator."""

from functools import partial

import pytest
import torch
from recurrent_cases import ITEMS, assert_bfloat16_changes_little, assert_equals_loops, trained_size

from grela.models.gru4rec import GRU4Rec, GRU4RecConfig
from reference import naive_gru4rec


def model(seed: int = 0, **settings: int) -> GRU4Rec:
    config = GRU4RecConfig(**({"width": 6, "hidden": 5} | settings))
    return GRU4Rec(ITEMS, config, rng=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("hidden", [5, 6])
def test_equals_the_loops_with_and_without_a_projection(hidden, layers):
    made = trained_size(model(hidden=hidden, layers=layers))
    assert (made.out is None) == (hidden == 6)
    assert_equals_loops(made, partial(naive_gru4rec.hidden, layers=layers))


def test_products_in_bfloat16_change_little():
    assert_bfloat16_changes_little(trained_size(model()))


def test_the_unit_begins_uniform_within_one_by_the_root_of_its_width():
    for name, parameter in model(hidden=100).gru.named_parameters():
        assert 0.09 < parameter.abs().max() <= 0.1, name
        assert abs(parameter.mean()) < 5 * 0.058 / parameter.numel() ** 0.5, name
        assert parameter.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.1), name
