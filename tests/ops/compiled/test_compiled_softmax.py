"""The compiled softmax losses are the definitions: loss and both gradients, judged in float64."""

import pytest
import torch
from torch import Tensor

from grela.ops.compiled import softmax as compiled
from grela.ops.losses.softmax import naive_softmax, softmax
from grela.ops.losses.targets import RepeatBias, SeenItems, Targets
from grela.ops.losses.without_seen import naive_softmax_without_seen, softmax_without_seen
from grela.ops.repeats import AGES, COUNTS

pytestmark = pytest.mark.usefixtures("kernels")

RNG = torch.Generator()
# More than one tile of positions, the last one short and odd.
POSITIONS, WIDTH = compiled.TILE + 13, 32
# How much worse than PyTorch's form in the same precision: float32 sums one by one, one rounding to bfloat16.
SLACK = {torch.float32: 2e-6, torch.bfloat16: 2**-9}


def given_of(items: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Targets]:
    """Hidden states, item table and targets, with what was seen: some items more than once, some the target."""
    rng = torch.Generator().manual_seed(items)
    hidden = torch.randn(POSITIONS, WIDTH, generator=rng).to(dtype)
    weight = torch.randn(items + 1, WIDTH, generator=rng)
    history = torch.randint(1, items + 1, (POSITIONS + 9,), generator=rng, dtype=torch.int32)
    place = torch.arange(POSITIONS)
    seen = SeenItems(history, (place - 6).clamp(min=0), place + 1)
    return hidden, weight, Targets(history[place + 1].long(), seen)


def raised(targets: Targets, items: int, dtype: torch.dtype = torch.float64) -> Targets:
    """Items raised by random tables: histories of hundreds of events of a few items fill most buckets."""
    rng = torch.Generator().manual_seed(3)
    history = torch.randint(1, int(targets.items.max()) + 1, (1_000,), generator=rng, dtype=torch.int32)
    start = torch.randint(0, 500, (POSITIONS,), generator=rng)
    length = torch.randint(0, 500, (POSITIONS,), generator=rng) * (torch.arange(POSITIONS) % 5 > 0)
    tables = (torch.randn(size, generator=rng, dtype=torch.float64).to(dtype) for size in (COUNTS, AGES))
    item_bias = torch.randn(items + 1, 1, generator=rng, dtype=torch.float64).to(dtype)
    return Targets(targets.items, SeenItems(history, start, start + length), RepeatBias(*tables), item_bias)


def with_bias_gradients(loss, hidden: Tensor, weight: Tensor, targets: Targets) -> list[Tensor]:
    bias = RepeatBias(*(table.clone().requires_grad_() for table in targets.bias))
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    item_bias = targets.item_bias.clone().requires_grad_()
    value = loss(hidden, weight, Targets(targets.items, targets.seen, bias, item_bias), RNG)
    return [value.detach(), *torch.autograd.grad(3 * value, [hidden, weight, *bias, item_bias])]


@pytest.mark.parametrize("items", [1, 5, 16, 33, 700])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_with_a_bias_no_further_from_the_definition_than_the_torch_form(items, dtype):
    hidden, weight, targets = given_of(items, dtype)
    targets = raised(targets, items)
    exact = with_bias_gradients(naive_softmax, hidden.double(), weight.double(), targets)
    targets = raised(targets, items, torch.float32)
    found, other = (with_bias_gradients(f, hidden, weight, targets) for f in (compiled.softmax, softmax))
    for mine, theirs, true in zip(found, other, exact, strict=True):
        size = true.norm() + 1e-3
        assert (mine.double() - true).norm() / size <= (theirs.double() - true).norm() / size + SLACK[dtype]
        assert mine.shape == true.shape
        assert mine.dtype == theirs.dtype
    if items > 1:
        assert sum(int(table.count_nonzero()) for table in found[3:5]) > 10


def outcome(loss, hidden: Tensor, weight: Tensor, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    value = loss(hidden, weight, targets, RNG)
    return (value.detach(), *torch.autograd.grad(3 * value, [hidden, weight]))


@pytest.mark.parametrize("items", [1, 5, 16, 33, 700])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("fast", "slow", "naive"),
    [
        (compiled.softmax, softmax, naive_softmax),
        (compiled.softmax_without_seen, softmax_without_seen, naive_softmax_without_seen),
    ],
)
def test_no_further_from_the_definition_than_the_torch_form(items, dtype, fast, slow, naive):
    hidden, weight, targets = given_of(items, dtype)
    exact = outcome(naive, hidden.double(), weight.double(), targets)
    found, other = outcome(fast, hidden, weight, targets), outcome(slow, hidden, weight, targets)
    for mine, theirs, true in zip(found, other, exact, strict=True):
        size = true.norm() + 1e-3
        assert (mine.double() - true).norm() / size <= (theirs.double() - true).norm() / size + SLACK[dtype]
        assert mine.shape == true.shape
        assert mine.dtype == theirs.dtype
    assert not found[2][0].any()


def test_far_logits_neither_overflow_nor_lose_the_loss():
    hidden = torch.zeros(2, 16)
    hidden[:, 0] = torch.tensor([300.0, -300.0])
    weight = torch.zeros(4, 16)
    weight[1:, 0] = torch.tensor([1.0, -1.0, 0.5])
    targets = Targets(torch.tensor([2, 1]))
    found = outcome(compiled.softmax, hidden, weight, targets)
    exact = outcome(naive_softmax, hidden.double(), weight.double(), targets)
    for mine, true in zip(found, exact, strict=True):
        assert torch.allclose(mine.double(), true, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_hidden_state_that_is_no_number_makes_the_loss_none(bad):
    hidden, weight, targets = given_of(33, torch.float32)
    hidden[5] = bad
    assert not torch.isfinite(compiled.softmax(hidden, weight, targets, RNG))


def test_a_target_outside_the_catalogue_is_refused():
    hidden, weight, _ = given_of(33, torch.float32)
    for target in (0, 34):
        items = torch.ones(POSITIONS, dtype=torch.int64)
        items[7] = target
        with pytest.raises(IndexError, match="1 to 33"):
            compiled.softmax(hidden, weight, Targets(items), RNG)


def test_a_catalogue_too_large_for_the_cache_goes_in_blocks(monkeypatch):
    hidden, weight, targets = given_of(33, torch.float32)
    whole = [outcome(f, hidden, weight, targets) for f in (compiled.softmax, compiled.softmax_without_seen)]
    monkeypatch.setattr(compiled, "MOST_LOGITS", 10)
    monkeypatch.setattr(compiled, "kernel", lambda *_: pytest.fail("the kernel was called"))
    blocked = [outcome(f, hidden, weight, targets) for f in (compiled.softmax, compiled.softmax_without_seen)]
    for found, expected in zip(blocked, whole, strict=True):
        for mine, theirs in zip(found, expected, strict=True):
            assert torch.allclose(mine, theirs, atol=1e-6)
