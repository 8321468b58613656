"""LRURec equals numpy's loops over complex states; eigenvalues begin on a ring and never leave the unit disc."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from recurrent_cases import ITEMS, assert_bfloat16_changes_little, assert_equals_loops, trained_size

from grela.models.lrurec import LRURec, LRURecConfig
from reference import naive_lrurec


def model(seed: int = 0, **settings: int) -> LRURec:
    config = LRURecConfig(**({"width": 6} | settings))
    return LRURec(ITEMS, config, rng=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 2])
def test_equals_the_loops(layers):
    assert_equals_loops(trained_size(model(layers=layers)), partial(naive_lrurec.hidden, layers=layers))


def test_products_in_bfloat16_change_little():
    assert_bfloat16_changes_little(trained_size(model()))


@torch.no_grad()
def test_eigenvalues_begin_evenly_on_a_ring_and_states_as_large_as_inputs():
    unit = model(width=1000).blocks[0].recurrent
    size, angle = unit.decay().abs(), unit.decay().angle() % (2 * math.pi)
    assert 0.8 <= size.min() < 0.801
    assert 0.989 < size.max() <= 0.9901
    # Even on the ring's area: the square of the size, and the angle, are uniform.
    for evenly in ((size**2 - 0.8**2) / (0.99**2 - 0.8**2), angle / (2 * math.pi)):
        quartiles = np.quantile(evenly.numpy(), [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quartiles, [0.25, 0.5, 0.75], atol=0.05)
    torch.testing.assert_close(unit.log_gamma.exp(), (1 - size**2).sqrt(), rtol=1e-4, atol=0)


@torch.no_grad()
def test_no_parameter_makes_the_state_grow():
    unit = model().blocks[0].recurrent
    for size in (-30.0, -3.0, 0.0, 3.0, 30.0):
        unit.log_nu.fill_(size)
        assert (unit.decay().abs() <= 1).all()
