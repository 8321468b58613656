"""Sampled losses equal their definitions, and full softmax where sampling leaves no error."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from loss_cases import (
    D,
    EachOnce,
    N,
    P,
    assert_equal,
    problem,
    with_bias,
    with_gradients,
    with_item_bias,
    with_seen,
)

from grela.ops.losses.gbce import beta, gbce, naive_gbce
from grela.ops.losses.negatives import ByFrequency, Uniform
from grela.ops.losses.sampled import (
    classic_sampled_softmax,
    naive_classic_sampled_softmax,
    naive_sampled_softmax,
    sampled_softmax,
)
from grela.ops.losses.softmax import naive_softmax
from grela.ops.losses.targets import Targets

COUNTS = np.array([90, 40, 0, 7, 7, 1, 3, 200, 12, 5, 60])
SOURCES = [Uniform(N), ByFrequency.of(COUNTS, 0.75, torch.device("cpu"))]


def cases():
    """Without biases, and with one on items seen and one of each item."""
    hidden, weight, targets = problem()
    return (hidden, weight, targets), (hidden, weight, with_item_bias(with_bias(with_seen(targets))))


@pytest.mark.parametrize("case", cases(), ids=["plain", "biased"])
@pytest.mark.parametrize("negatives", SOURCES)
@pytest.mark.parametrize("count", [1, 4, 40])
@pytest.mark.parametrize(
    ("fast", "naive"), [(classic_sampled_softmax, naive_classic_sampled_softmax), (gbce, naive_gbce)]
)
def test_fast_equals_its_definition(fast, naive, count, negatives, case):
    options = {"negatives": negatives, "count": count}
    if fast is gbce:
        options["calibration"] = 0.75
    assert_equal(with_gradients(fast, *case, **options), with_gradients(naive, *case, **options))


@pytest.mark.parametrize("case", cases(), ids=["plain", "biased"])
@pytest.mark.parametrize("negatives", SOURCES)
@pytest.mark.parametrize("count", [1, 4, 40])
def test_the_gradient_is_that_of_the_papers_weighted_loss(count, negatives, case):
    options = {"negatives": negatives, "count": count}
    _, *found = with_gradients(sampled_softmax, *case, **options)
    _, *expected = with_gradients(naive_sampled_softmax, *case, **options)
    assert_equal(found, expected, rtol=1e-11)


@pytest.mark.parametrize("loss", [sampled_softmax, classic_sampled_softmax])
@pytest.mark.parametrize("rounds", [1, 3])
def test_every_item_equally_often_is_full_softmax(loss, rounds):
    """For the classic form of one round only: its target counts once, however often the others were drawn."""
    found = with_gradients(loss, *problem(), negatives=EachOnce(), count=rounds * N)
    expected = with_gradients(naive_softmax, *problem())
    if loss is classic_sampled_softmax and rounds > 1:
        assert found[0] > expected[0] + 0.5
    else:
        assert_equal(found, expected, rtol=1e-12)


def test_with_a_bias_every_item_equally_often_is_the_biased_softmax():
    _, biased = cases()
    found = with_gradients(sampled_softmax, *biased, negatives=EachOnce(), count=3 * N)
    assert_equal(found, with_gradients(naive_softmax, *biased), rtol=1e-11)


class InProportion(EachOnce):
    """Draws item i exactly i times of N (N + 1) / 2, and says so."""

    def draw(self, count, rng):
        return torch.repeat_interleave(torch.arange(1, N + 1), torch.arange(1, N + 1))

    def log_probability(self, items):
        return (items.double() / (N * (N + 1) / 2)).log()


def test_items_in_proportion_to_q_are_full_softmax_only_with_the_refined_correction():
    options = {"negatives": InProportion(), "count": N * (N + 1) // 2}
    expected = with_gradients(naive_softmax, *problem())
    assert_equal(with_gradients(sampled_softmax, *problem(), **options), expected)
    classic = with_gradients(classic_sampled_softmax, *problem(), **options)
    assert classic[0] > expected[0] + 0.5
    assert (classic[2] - expected[2]).norm() > 0.03 * expected[2].norm()


@pytest.mark.parametrize("negatives", SOURCES)
def test_the_estimate_nears_full_softmax_with_the_number_of_negatives(negatives):
    expected = with_gradients(naive_softmax, *problem())
    errors = []
    for count in (50, 5_000):
        found = with_gradients(sampled_softmax, *problem(), negatives=negatives, count=count)
        errors.append(max((x - y).norm() / y.norm() for x, y in zip(found, expected, strict=True)))
    assert errors[1] < 0.05
    assert errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize("loss", [sampled_softmax, classic_sampled_softmax, partial(gbce, calibration=0.5)])
def test_a_position_whose_every_negative_is_its_target_stays_finite(loss):
    hidden, weight, _ = problem(2)

    class Always(EachOnce):
        def draw(self, count, rng):
            return torch.full((count,), 3)

    alone = with_gradients(loss, hidden, weight, Targets(torch.tensor([3, 3])), negatives=Always(), count=4)
    assert all(x.isfinite().all() for x in alone)
    if not isinstance(loss, partial):
        assert not any(x.any() for x in alone)


@pytest.mark.parametrize("loss", [sampled_softmax, classic_sampled_softmax, partial(gbce, calibration=0.5)])
def test_the_gradient_by_weight_is_sparse_and_has_no_row_but_targets_and_draws(loss):
    hidden, weight, targets = problem(3, items=500)
    weight.requires_grad_()
    loss(
        hidden, weight, targets, torch.Generator().manual_seed(1), negatives=Uniform(500), count=6
    ).backward()
    drawn = Uniform(500).draw(6, torch.Generator().manual_seed(1))
    assert weight.grad.is_sparse
    rows = set(weight.grad.coalesce().indices()[0].tolist())
    assert rows == set(drawn.tolist()) | set(targets.items.tolist())


def test_bfloat16_products_change_a_loss_by_their_rounding_only():
    hidden, weight, targets = problem(200, items=300, width=16)
    options = {"negatives": Uniform(300), "count": 100}
    exact = with_gradients(sampled_softmax, hidden, weight, targets, **options)
    narrow = with_gradients(sampled_softmax, hidden.bfloat16(), weight.float(), targets, **options)
    assert narrow[2].dtype == torch.float32
    for x, y in zip(narrow, exact, strict=True):
        assert (x.double() - y).norm() <= 0.02 * y.norm()


def test_beta_is_one_without_calibration_and_the_sampling_rate_with_full():
    assert beta(1001, 10, 0.0) == pytest.approx(1)
    assert beta(1001, 10, 1.0) == pytest.approx(10 / 1000)
    assert beta(1001, 10, 0.75) == pytest.approx(0.01 * (0.75 * (1 - 100) + 100))
    assert beta(11, 500, 0.75) == 1


def test_fully_calibrated_gbce_is_least_where_sigmoids_are_the_probabilities():
    """One hidden state, N one-hot items, targets in proportion to known probabilities: the minimum is at them."""
    probabilities = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    logits = (probabilities / (1 - probabilities)).log().requires_grad_()
    power = beta(4, 1, 1.0)
    # Each of the 3 others is the one negative of a target with probability 1 / 3.
    pushed = (probabilities.sum() - probabilities) / 3
    loss = -(power * probabilities * logits.sigmoid().log() + pushed * (1 - logits.sigmoid()).log()).sum()
    loss.backward()
    assert power == pytest.approx(1 / 3)
    torch.testing.assert_close(logits.grad, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("negatives", SOURCES)
def test_draws_have_the_probability_that_is_said(negatives):
    drawn = negatives.draw(200_000, torch.Generator().manual_seed(0))
    q = negatives.log_probability(torch.arange(1, N + 1)).exp()
    assert q.sum().item() == pytest.approx(1, abs=1e-6)
    found = torch.bincount(drawn, minlength=N + 1)[1:] / 200_000
    deviation = (q * (1 - q) / 200_000).sqrt()
    assert ((found - q).abs() < 4.5 * deviation).all()


def test_items_never_seen_in_training_can_be_drawn():
    q = SOURCES[1].log_probability(torch.tensor([3, 6])).exp()
    assert q[0] > 0
    assert (q[1] / q[0]).item() == pytest.approx(2**0.75, rel=1e-5)


def test_power_zero_is_uniform():
    q = ByFrequency.of(COUNTS, 0.0, torch.device("cpu")).log_probability(torch.arange(1, N + 1))
    torch.testing.assert_close(q, Uniform(N).log_probability(torch.arange(1, N + 1)))


def test_classic_scores_are_corrected_by_q_of_target_and_negatives():
    """One position, one negative, by hand."""
    hidden, weight = torch.ones(1, D, dtype=torch.float64), problem()[1]
    negatives = ByFrequency.of(COUNTS, 1.0, torch.device("cpu"))
    rng = torch.Generator().manual_seed(7)
    item = int(negatives.draw(1, torch.Generator().manual_seed(7)))
    target = 1 if item != 1 else 2
    total = COUNTS.sum() + N
    a = math.exp(weight[target].sum()) * total / (COUNTS[target - 1] + 1)
    b = math.exp(weight[item].sum()) * total / (COUNTS[item - 1] + 1)
    found = classic_sampled_softmax(
        hidden, weight, Targets(torch.tensor([target])), rng, negatives=negatives, count=1
    )
    assert found.item() == pytest.approx(-math.log(a / (a + b)), rel=1e-5)
    assert P > 1
