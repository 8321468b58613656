"""GRU4Rec equals numpy's loops, and begins by Xavier's rule, from the given generator."""

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


def test_the_unit_and_its_projection_begin_by_xaviers_rule_each_gate_by_itself():
    made = model(width=50, hidden=100)
    of_gates = [gate for name, p in made.gru.named_parameters() if "weight" in name for gate in p.chunk(3)]
    assert len(of_gates) == 2 * 2 * 3
    for weight in (*of_gates, made.out.weight):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    biases = [p for name, p in made.named_parameters() if "bias" in name]
    assert len(biases) == 2 * 2 + 1
    assert all(bias.count_nonzero() == 0 for bias in biases)
