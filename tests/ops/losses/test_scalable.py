"""Scalable cross-entropy equals its algorithm, and full softmax where one bucket holds everything."""

import pytest
import torch
from loss_cases import N, P, assert_equal, problem, with_gradients

from grela.ops.losses import scalable
from grela.ops.losses.scalable import naive_scalable_cross_entropy, scalable_cross_entropy, top_items
from grela.ops.losses.softmax import naive_softmax


@pytest.mark.parametrize("buckets", [1, 3, 9])
@pytest.mark.parametrize("bucket_positions", [1, 6, P])
@pytest.mark.parametrize("bucket_items", [1, 4, N])
def test_fast_equals_the_algorithm(buckets, bucket_positions, bucket_items):
    options = {"buckets": buckets, "bucket_positions": bucket_positions, "bucket_items": bucket_items}
    assert_equal(
        with_gradients(scalable_cross_entropy, *problem(), **options),
        with_gradients(naive_scalable_cross_entropy, *problem(), **options),
    )


@pytest.mark.parametrize("buckets", [1, 2])
def test_buckets_of_all_positions_and_items_are_full_softmax(buckets):
    options = {"buckets": buckets, "bucket_positions": P, "bucket_items": N}
    assert_equal(
        with_gradients(scalable_cross_entropy, *problem(), **options),
        with_gradients(naive_softmax, *problem()),
    )


def test_its_items_are_the_hard_ones():
    """With few items a bucket the loss is nearer to the full one than with as many drawn at random."""
    hidden, weight, targets = problem(64, scale=2.0, items=400, width=8)
    full = with_gradients(naive_softmax, hidden, weight, targets)[0]
    hard = with_gradients(scalable_cross_entropy, hidden, weight, targets, bucket_items=40)[0]
    rng = torch.Generator().manual_seed(3)
    drawn = weight[torch.randint(1, 401, (40,), generator=rng)]
    positive = (hidden * weight[targets.items]).sum(1)
    random = (torch.logaddexp((hidden @ drawn.T).logsumexp(1), positive) - positive).mean()
    assert random < hard <= full + 0.5


def test_a_bucket_is_never_larger_than_what_there_is():
    options = {"buckets": 2, "bucket_positions": 500, "bucket_items": 500}
    assert_equal(
        with_gradients(scalable_cross_entropy, *problem(), **options),
        with_gradients(naive_softmax, *problem()),
    )


@pytest.mark.parametrize("count", [1, 5, 37])
def test_the_best_items_do_not_depend_on_the_stretches_searched(count, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 8, generator=rng, dtype=torch.float64)
    weight = torch.randn(101, 8, generator=rng, dtype=torch.float64)
    expected = 1 + (centres @ weight[1:].T).argsort(descending=True)[:, :count]
    for stretch in (1, 7, 50, 100, 1_000):
        monkeypatch.setattr(scalable, "LOGITS_BYTES", stretch * 3 * 8)
        assert torch.equal(top_items(centres, weight, count), expected)


def test_the_gradient_by_weight_is_sparse():
    hidden, weight, targets = problem(10, items=5_000)
    weight.requires_grad_()
    scalable_cross_entropy(hidden, weight, targets, torch.Generator(), bucket_items=7).backward()
    assert weight.grad.is_sparse
    assert 0 < len(weight.grad.coalesce().indices()[0]) <= 10 + 7 * 4
