"""The blocked softmax loss equals the naive one, and in bfloat16 errs no more than the naive one does."""

import pytest
import torch
from loss_cases import D, N, P, assert_equal, problem, with_bias, with_gradients, with_item_bias, with_seen

from grela.ops.losses import softmax as module
from grela.ops.losses import targets as targets_module
from grela.ops.losses.softmax import Block, block_of, naive_softmax, softmax, softmax_loss_and_gradient
from grela.ops.losses.targets import RepeatBias, SeenItems, Targets
from grela.ops.losses.without_seen import naive_softmax_without_seen, softmax_without_seen
from grela.ops.repeats import AGES, COUNTS, naive_bias

# Whole blocks and a rest, one a block, one block exactly, larger than all; of positions and of items.
BLOCKS = [Block(p, n) for p in (1, 4, 22, 23, 512) for n in (1, 3, 10, 11, 64)]


def to(device, hidden, weight, targets):
    seen = None if targets.seen is None else targets.seen.to(device)
    bias = None if targets.bias is None else RepeatBias(*(table.to(device) for table in targets.bias))
    item_bias = None if targets.item_bias is None else targets.item_bias.to(device)
    return hidden.to(device), weight.to(device), Targets(targets.items.to(device), seen, bias, item_bias)


def test_naive_is_the_mean_of_minus_log_softmax_over_all_items_but_padding():
    hidden, weight, targets = problem()
    expected = 0.0
    for p in range(P):
        exponentials = (hidden[p] @ weight[1:].T).exp()
        expected -= (exponentials[targets.items[p] - 1] / exponentials.sum()).log().item() / P
    found = naive_softmax(hidden, weight, targets, torch.Generator())
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("block", BLOCKS)
def test_blocked_equals_naive_in_value_and_gradients(block, device):
    case = to(device, *problem())
    found = with_gradients(softmax, *case, block=block)
    assert found[0].dtype == torch.float64
    assert_equal(found, with_gradients(naive_softmax, *case))


@pytest.mark.parametrize("block", BLOCKS)
def test_without_seen_equals_its_definition(block, device, monkeypatch):
    monkeypatch.setattr(
        targets_module, "PAIRS", 8
    )  # several turns of masking in a block, and a position above it
    hidden, weight, targets = problem()
    for kind in (with_seen(targets), with_item_bias(with_seen(targets))):
        case = to(device, hidden, weight, kind)
        assert_equal(
            with_gradients(softmax_without_seen, *case, block=block),
            with_gradients(naive_softmax_without_seen, *case),
        )


def one_by_one(hidden, weight, targets, rng):
    """The biased softmax position by position, item by item."""
    losses, everything = [], torch.arange(1, len(weight))
    for p, h in enumerate(hidden):
        scores = weight[1:] @ h + naive_bias(targets, p, everything)
        losses.append(scores.logsumexp(0) - scores[targets.items[p] - 1])
    return torch.stack(losses).mean()


def test_the_naive_biased_softmax_is_that_of_raised_scores():
    hidden, weight, targets = problem()
    case = hidden, weight, with_item_bias(with_bias(with_seen(targets)))
    found = with_gradients(naive_softmax, *case)
    assert_equal(found, with_gradients(one_by_one, *case))
    assert all(table.any() for table in found[3:])


@pytest.mark.parametrize("block", BLOCKS)
def test_the_biased_softmax_equals_naive_in_value_and_all_gradients(block, device, monkeypatch):
    monkeypatch.setattr(targets_module, "PAIRS", 8)
    hidden, weight, targets = problem()
    both = with_item_bias(with_bias(with_seen(targets)))
    for kind in (with_bias(with_seen(targets)), with_item_bias(targets), both):
        case = to(device, hidden, weight, kind)
        found = with_gradients(softmax, *case, block=block)
        assert_equal(found, with_gradients(naive_softmax, *case))
    assert not found[-1][0]  # padding


@pytest.mark.parametrize("loss", [naive_softmax, softmax])
def test_a_bias_of_zero_and_a_history_of_nothing_change_no_loss(loss):
    hidden, weight, targets = problem()
    plain = with_gradients(loss, hidden, weight, targets)
    tables = RepeatBias(torch.zeros(COUNTS, dtype=torch.float64), torch.zeros(AGES, dtype=torch.float64))
    seen = with_seen(targets).seen
    of_zero = with_gradients(loss, hidden, weight, Targets(targets.items, seen, tables))
    assert_equal(of_zero[:3], plain)
    nothing = SeenItems(seen.history, seen.start, seen.start)
    of_nothing = with_gradients(loss, hidden, weight, with_bias(Targets(targets.items, nothing)))
    assert_equal(of_nothing[:3], plain)
    assert not any(table.any() for table in of_nothing[3:])


def test_a_strongly_negative_bias_is_the_softmax_without_seen():
    """Where no target was seen; a seen target is a candidate only there."""
    hidden, weight, targets = problem()
    seen = with_seen(targets).seen
    new = [
        target not in seen.history[low:high]
        for target, low, high in zip(targets.items, seen.start, seen.end, strict=True)
    ]
    kept = torch.tensor([p for p, is_new in enumerate(new) if is_new])
    few = Targets(targets.items[kept], SeenItems(seen.history, seen.start[kept], seen.end[kept]))
    never = RepeatBias(*(torch.full((n,), -1e4, dtype=torch.float64) for n in (COUNTS, AGES)))
    assert 5 < len(kept) < P
    case = hidden[kept], weight
    found = with_gradients(softmax, *case, Targets(few.items, few.seen, never))
    assert_equal(found[:3], with_gradients(softmax_without_seen, *case, few))
    assert not any(table.any() for table in found[3:])


def test_a_bias_without_a_history_is_refused():
    hidden, weight, targets = problem()
    for loss in (naive_softmax, softmax):
        with pytest.raises(ValueError, match=r"needs targets\.seen"):
            loss(hidden, weight, with_bias(targets), torch.Generator())


@pytest.mark.parametrize("block", [Block(64, 700), Block(64, 99)])
def test_in_float32_the_biased_softmax_errs_no_more_than_naive_does(block):
    hidden, weight, targets = problem(300, items=700, width=16)
    case = with_seen(targets, items=30)
    exact = with_gradients(naive_softmax, hidden, weight, with_bias(case))
    narrow = hidden.float(), weight.float(), with_bias(case, dtype=torch.float32)
    fast, slow = with_gradients(softmax, *narrow, block=block), with_gradients(naive_softmax, *narrow)
    for x, y, z in zip(fast, slow, exact, strict=True):
        assert x.dtype == torch.float32
        assert (x.double() - z).norm() <= (y.double() - z).norm() + 2**-21 * z.norm()


def test_without_seen_is_the_softmax_where_nothing_was_seen_and_less_where_something_was():
    hidden, weight, targets = problem()
    some = with_seen(targets)
    nothing = Targets(targets.items, type(some.seen)(some.seen.history, some.seen.start, some.seen.start))
    full = with_gradients(softmax, hidden, weight, targets)
    assert_equal(with_gradients(softmax_without_seen, hidden, weight, nothing), full)
    assert with_gradients(softmax_without_seen, hidden, weight, some)[0] < full[0] - 0.1


def test_seen_items_get_no_gradient_from_a_position():
    hidden, weight, _ = problem(1)
    case = with_seen(Targets(torch.tensor([4])), seed=3)
    met = set(case.seen.history[case.seen.start[0] : case.seen.end[0]].tolist()) - {4}
    by_weight = with_gradients(softmax_without_seen, hidden, weight, case)[2]
    still = {i for i in range(1, N + 1) if not by_weight[i].any()}
    assert met
    assert still == met


def test_targets_without_history_are_refused():
    hidden, weight, targets = problem()
    with pytest.raises(ValueError, match=r"needs targets\.seen"):
        softmax_without_seen(hidden, weight, targets, torch.Generator())


def test_padding_is_never_a_candidate_and_gets_no_gradient():
    for block in (None, Block(4, 3)):
        assert not with_gradients(softmax, *problem(), block=block)[2][0].any()


def test_one_position_is_enough():
    assert_equal(with_gradients(softmax, *problem(1)), with_gradients(naive_softmax, *problem(1)))


def test_a_kernel_given_is_the_one_used():
    def twice(logits, targets):
        loss, gradient = softmax_loss_and_gradient(logits, targets)
        return 2 * loss, 2 * gradient

    found = with_gradients(softmax, *problem(), loss_and_gradient=twice)
    assert_equal(found, [2 * x for x in with_gradients(naive_softmax, *problem())])


@pytest.mark.parametrize("items", [2, 3_416, 100_000, 490_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("size", [2, 4])
def test_a_block_fits_its_budget_and_is_worth_a_product(items, size):
    block = block_of(items, size, torch.device("cpu"))
    assert block.positions * min(block.items, items) * size <= module.LOGITS_BYTES
    on_cuda = block_of(items, size, torch.device("cuda"))
    assert on_cuda.positions * min(on_cuda.items, items) * size <= module.LARGER_ON_CUDA * module.LOGITS_BYTES
    assert on_cuda.positions >= module.LEAST_POSITIONS
    assert on_cuda.positions * min(on_cuda.items, items) >= block.positions * min(block.items, items)
    assert block.positions >= module.LEAST_POSITIONS
    assert block.items >= min(items, 10_000)


def test_a_second_backward_is_refused():
    hidden, weight, targets = problem()
    loss = softmax(hidden.requires_grad_(), weight.requires_grad_(), targets, torch.Generator())
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# Peaked and flat softmax: the largest probability near 1, and near 1 / N; whole catalogue and parts of it.
@pytest.mark.parametrize("scale", [0.02, 1.0, 4.0])
@pytest.mark.parametrize("block", [Block(64, 700), Block(64, 99)])
def test_bfloat16_errs_no_more_than_naive_does(scale, block):
    hidden, weight, targets = problem(300, scale=scale, items=700, width=16)
    exact = with_gradients(naive_softmax, hidden, weight, targets)
    narrow = hidden.bfloat16(), weight.float(), targets
    fast = with_gradients(softmax, *narrow, block=block)
    slow = with_gradients(lambda h, w, t, rng: naive_softmax(h, w.bfloat16(), t, rng), *narrow)
    assert fast[0].dtype == torch.float32
    assert fast[2].dtype == torch.float32
    # A probability rounded to bfloat16 is off by at most 2**-9, and so is its logarithm.
    assert abs(fast[0] - exact[0]) <= abs(slow[0] - exact[0]) + 2**-9
    for x, y, z in zip(fast[1:], slow[1:], exact[1:], strict=True):
        # Gradients as a whole: what naive errs, and one more rounding of 2**-9 of their size.
        assert (x.double() - z).norm() <= (y.double() - z).norm() + 2**-9 * z.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("block", [None, Block(2, 3)])
def test_extreme_logits_stay_finite(dtype, size, block):
    """Logits of about 1e4 both ways, with targets of probability 0 and of 1."""
    hidden = torch.full((3, 2), size, dtype=dtype)
    weight = torch.tensor([[0, 0], [0.5, 0.5], [-0.5, -0.5], [0.0, 0.0], [0.5, 0.25]], dtype=dtype)
    targets = Targets(torch.tensor([1, 2, 3]))
    found = with_gradients(softmax, hidden, weight, targets, block=block)
    expected = with_gradients(naive_softmax, hidden, weight, targets)
    for x, y in zip(found, expected, strict=True):
        assert x.isfinite().all()
        torch.testing.assert_close(x.double(), y.double(), rtol=1e-2, atol=1e-4)


def test_gradients_of_each_position_sum_to_zero_over_items():
    """The softmax and the target's 1 cancel: the weight's gradient has column sum 0."""
    by_weight = with_gradients(softmax, *problem(), block=Block(4, 11))[2]
    torch.testing.assert_close(by_weight.sum(0), torch.zeros(D, dtype=torch.float64), rtol=0, atol=1e-14)
