"""Small problems for losses, and their gradients."""

import torch

from grela.ops.losses.targets import RepeatBias, SeenItems, Targets
from grela.ops.repeats import AGES, COUNTS

P, D, N = 23, 5, 11


def problem(positions: int = P, *, scale: float = 1.0, seed: int = 0, items: int = N, width: int = D):
    """hidden [P, D], weight [N+1, D] whose padding row would win every softmax, targets [P]; float64."""
    rng = torch.Generator().manual_seed(seed)
    hidden = scale * torch.randn(positions, width, generator=rng, dtype=torch.float64)
    weight = torch.randn(items + 1, width, generator=rng, dtype=torch.float64)
    weight[0] = 1e3
    return hidden, weight, Targets(torch.randint(1, items + 1, (positions,), generator=rng))


def with_seen(targets: Targets, *, items: int = N, seed: int = 1) -> Targets:
    """Targets whose positions have seen between no and 9 events, some of them their own target, some repeated."""
    rng = torch.Generator().manual_seed(seed)
    history = torch.randint(1, items + 1, (60,), generator=rng, dtype=torch.int32)
    start = torch.randint(0, 50, targets.items.shape, generator=rng)
    end = start + torch.randint(0, 10, targets.items.shape, generator=rng)
    return Targets(targets.items, SeenItems(history, start, end))


def with_bias(targets: Targets, *, dtype: torch.dtype = torch.float64, seed: int = 2) -> Targets:
    """Targets whose seen items are raised, or lowered, by tables of random numbers of size 1."""
    rng = torch.Generator().manual_seed(seed)
    tables = (torch.randn(size, generator=rng, dtype=torch.float64).to(dtype) for size in (COUNTS, AGES))
    return Targets(targets.items, targets.seen, RepeatBias(*tables), targets.item_bias)


def with_item_bias(targets: Targets, *, items: int = N, dtype: torch.dtype = torch.float64) -> Targets:
    """Targets that raise every item by a number of its own, the padding by much."""
    rng = torch.Generator().manual_seed(3)
    table = torch.randn(items + 1, 1, generator=rng, dtype=torch.float64).to(dtype)
    table[0] = 1e3
    return Targets(targets.items, targets.seen, targets.bias, table)


def with_gradients(loss, hidden, weight, targets, *, rng_seed: int = 7, **options):
    """The loss and its dense gradients by hidden, weight and any bias, times 3: a factor that could be forgotten.

    The biases' come in the order by count, by age, by item.
    """
    leaves = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    rng = torch.Generator(hidden.device).manual_seed(rng_seed)
    bias = None
    if targets.bias is not None:
        bias = RepeatBias(*(table.clone().requires_grad_() for table in targets.bias))
    item_bias = None if targets.item_bias is None else targets.item_bias.clone().requires_grad_()
    value = loss(*leaves, Targets(targets.items, targets.seen, bias, item_bias), rng, **options)
    (3 * value).backward()
    tables = [*leaves, *(bias or ()), *([] if item_bias is None else [item_bias])]
    grads = (table.grad for table in tables)
    return value.detach(), *(g.to_dense() if g.is_sparse else g for g in grads)


def assert_equal(found, expected, *, rtol: float = 1e-12, atol: float = 1e-14) -> None:
    """Values and all gradients."""
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=rtol, atol=atol)


class EachOnce:
    """Draws items 1..N once each, in turn, and says that Q is uniform: sampling without sampling error."""

    def __init__(self, items: int = N) -> None:
        self.items = items

    def draw(self, count, rng):
        return torch.arange(count, device=rng.device) % self.items + 1

    def log_probability(self, items):
        return torch.full(items.shape, 1 / self.items, dtype=torch.float64, device=items.device).log()
