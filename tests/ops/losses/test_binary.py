"""Binary cross-entropy with negatives of each position's own equals its definition; what was met is no negative."""

import numpy as np
import pytest
import torch
from loss_cases import D, EachOnce, N, P, assert_equal, problem, with_gradients, with_item_bias, with_seen
from torch.nn.functional import binary_cross_entropy_with_logits

from grela.ops.losses import targets as targets_module
from grela.ops.losses.binary import binary_cross_entropy, naive_binary_cross_entropy
from grela.ops.losses.gbce import gbce
from grela.ops.losses.negatives import ByFrequency, Uniform
from grela.ops.losses.targets import SeenItems, Targets

COUNTS = np.array([90, 40, 0, 7, 7, 1, 3, 200, 12, 5, 60])
SOURCES = [Uniform(N), ByFrequency.of(COUNTS, 0.75, torch.device("cpu"))]


def seen_problem(positions: int = P):
    hidden, weight, targets = problem(positions)
    return hidden, weight, with_seen(targets)


def unseen(targets: Targets) -> Targets:
    """The same targets, before which nothing was met."""
    seen = with_seen(targets).seen
    return Targets(targets.items, SeenItems(seen.history, seen.start, seen.start))


class Fixed(EachOnce):
    """Draws these items, whatever is asked for."""

    def __init__(self, *items: int) -> None:
        self.drawn = torch.tensor(items)

    def draw(self, count, rng):
        assert count == len(self.drawn)
        return self.drawn


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("negatives", SOURCES)
@pytest.mark.parametrize("count", [1, 4, 40])
def test_fast_equals_its_definition(count, negatives, biased, monkeypatch):
    monkeypatch.setattr(targets_module, "PAIRS", 8)  # several pieces
    hidden, weight, targets = seen_problem()
    case = hidden, weight, with_item_bias(targets) if biased else targets
    options = {"negatives": negatives, "count": count}
    found = with_gradients(binary_cross_entropy, *case, **options)
    assert_equal(found, with_gradients(naive_binary_cross_entropy, *case, **options))
    assert len(found) == (4 if biased else 3)
    assert not found[2][0].any()  # padding


def test_it_is_the_cross_entropy_of_a_target_and_a_negative_by_hand():
    hidden, weight, _ = problem(2)
    seen = SeenItems(torch.tensor([7, 8]), torch.tensor([0, 0]), torch.tensor([1, 2]))
    targets = Targets(torch.tensor([3, 5]), seen)
    rng = torch.Generator()
    found = binary_cross_entropy(hidden, weight, targets, rng, negatives=Fixed(4, 9), count=1)
    logits = torch.stack(
        (hidden[0] @ weight[3], hidden[0] @ weight[4], hidden[1] @ weight[5], hidden[1] @ weight[9])
    )
    each = binary_cross_entropy_with_logits(
        logits, torch.tensor([1.0, 0, 1, 0], dtype=torch.float64), reduction="sum"
    )
    torch.testing.assert_close(found, each / 2)


@pytest.mark.parametrize("draw", [3, 7, 8])
def test_a_draw_that_is_the_target_or_was_met_is_no_negative(draw):
    """The first position has met 7 and repeats a target that it has met; the second has met 8 and 7."""
    hidden, weight, _ = problem(2)
    seen = SeenItems(torch.tensor([7, 3, 8, 7]), torch.tensor([0, 2]), torch.tensor([2, 4]))
    targets = Targets(torch.tensor([3, 3]), seen)
    options = {"negatives": Fixed(draw, draw), "count": 1}
    found, _, by_weight = with_gradients(binary_cross_entropy, hidden, weight, targets, **options)
    positive = -(hidden @ weight[3]).sigmoid().log()
    first = draw == 8  # met by the second position only
    expected = positive.mean() - first * (1 - (hidden[0] @ weight[draw]).sigmoid()).log() / 2
    torch.testing.assert_close(found, expected)
    assert bool(by_weight[draw].any()) == (draw == 3 or first)


def test_without_a_history_it_is_gbce_without_calibration_but_for_its_factor():
    """All positions draw the same items here, none of them a target."""
    hidden, weight, targets = problem()
    targets = unseen(Targets(targets.items.clamp(max=6)))
    shared = with_gradients(
        gbce, hidden, weight, targets, negatives=Fixed(7, 9, 9, 11), count=4, calibration=0.0
    )
    own = Fixed(*([7, 9, 9, 11] * P))
    found = with_gradients(binary_cross_entropy, hidden, weight, targets, negatives=own, count=4)
    assert_equal(found, [5 * x for x in shared])


def test_positions_draw_of_their_own():
    """The mean gradient over many positions of one hidden state is that of all items, up to the error of sampling."""
    weight = problem()[1]
    hidden = torch.ones(1, D, dtype=torch.float64).expand(20_000, D)
    targets = unseen(Targets(torch.full((20_000,), 2)))
    by_weight = with_gradients(binary_cross_entropy, hidden, weight, targets, negatives=Uniform(N), count=1)[
        2
    ]
    expected = 3 * (weight @ hidden[0]).sigmoid()[:, None] * hidden[0] / N
    others = [i for i in range(1, N + 1) if i != 2]
    torch.testing.assert_close(by_weight[others], expected[others], rtol=0.15, atol=0)


def test_the_gradient_by_weight_is_sparse_and_has_no_row_but_targets_and_draws():
    hidden, weight, targets = problem(3, items=500)
    targets = unseen(targets)
    weight.requires_grad_()
    rng = torch.Generator().manual_seed(1)
    binary_cross_entropy(hidden, weight, targets, rng, negatives=Uniform(500), count=2).backward()
    drawn = Uniform(500).draw(6, torch.Generator().manual_seed(1))
    assert weight.grad.is_sparse
    rows = set(weight.grad.coalesce().indices()[0].tolist())
    assert rows == set(drawn.tolist()) | set(targets.items.tolist())


def test_extreme_scores_stay_finite():
    hidden, weight, targets = problem(scale=1e4)
    options = {"negatives": Uniform(N), "count": 3}
    found = with_gradients(binary_cross_entropy, hidden, weight, unseen(targets), **options)
    assert all(x.isfinite().all() for x in found)
    assert found[0] > 1e3


def test_bfloat16_hidden_states_change_it_by_their_rounding_only():
    hidden, weight, targets = problem(200, items=300, width=16)
    targets = unseen(targets)
    options = {"negatives": Uniform(300), "count": 5}
    exact = with_gradients(binary_cross_entropy, hidden, weight, targets, **options)
    narrow = with_gradients(binary_cross_entropy, hidden.bfloat16(), weight.float(), targets, **options)
    assert narrow[0].dtype == narrow[2].dtype == torch.float32
    for x, y in zip(narrow, exact, strict=True):
        assert (x.double() - y).norm() <= 0.01 * y.norm()


def test_targets_without_history_are_refused():
    hidden, weight, targets = problem()
    for loss in (binary_cross_entropy, naive_binary_cross_entropy):
        with pytest.raises(ValueError, match=r"needs targets\.seen"):
            loss(hidden, weight, targets, torch.Generator(), negatives=Uniform(N), count=1)
