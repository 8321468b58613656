"""What a position has met: each item once, how often, and how many events ago."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grela.ops.losses import targets as module
from grela.ops.losses.targets import RepeatBias, SeenItems, Targets
from grela.ops.repeats import AGES, COUNTS, half_octave, met_before, naive_bias


def test_half_octaves_are_exact():
    numbers = [*range(1, 5_000), *(2**n + d for n in range(2, 30) for d in (-1, 0, 1))]
    numbers += [math.isqrt(2 ** (2 * n + 1)) + d for n in range(2, 30) for d in (0, 1)]
    numbers = [x for x in numbers if x <= 2**30]
    found = half_octave(torch.tensor(numbers), 1_000).tolist()
    # floor(2 log2 x) is the octave of x squared.
    assert found == [(x * x).bit_length() - 1 for x in numbers]
    assert half_octave(torch.tensor([2**30]), COUNTS).tolist() == [COUNTS - 1]


def test_the_first_buckets_are_those_of_the_docstring():
    """1; 2; 3; 4-5; 6-7; 8-11; 12-15: half an octave after 1 no whole number lies."""
    found = half_octave(torch.arange(1, 16), AGES).tolist()
    assert found == [0, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7]


def by_dictionary(seen: SeenItems, first: int, last: int) -> set[tuple[int, int, int, int]]:
    """(position, item, bucket of count, bucket of age) by remembering each item's count and last place."""
    found = set()
    for p in range(first, last):
        history = seen.history[int(seen.start[p]) : int(seen.end[p])].tolist()
        count: dict[int, int] = {}
        latest: dict[int, int] = {}
        for place, item in enumerate(history):
            count[item], latest[item] = count.get(item, 0) + 1, place
        for item in count:
            buckets = [(x * x).bit_length() - 1 for x in (count[item], len(history) - latest[item])]
            found.add((p - first, item, min(buckets[0], COUNTS - 1), min(buckets[1], AGES - 1)))
    return found


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    history=st.lists(st.integers(1, 6), min_size=40, max_size=40),
    spans=spans,
    cut=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    pairs=st.sampled_from([1, 7, 50, 10**6]),
)
def test_met_before_is_a_dictionarys_account(history, spans, cut, pairs):
    """Of all positions or of some, empty histories among them, in one piece or in many."""
    low, high = (torch.tensor([f(s) for s in spans], dtype=torch.int64) for f in (min, max))
    seen = SeenItems(torch.tensor(history, dtype=torch.int32), low, high)
    first, last = sorted(min(c, len(spans)) for c in cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAIRS", pairs)
        found = met_before(seen, first, last, 6)
    rows = list(zip(*(column.tolist() for column in found), strict=True))
    assert len(set(rows)) == len(rows)
    assert set(rows) == by_dictionary(seen, first, last)


def test_counts_and_ages_beyond_the_tables_share_the_last_bucket():
    seen = SeenItems(torch.ones(1_000, dtype=torch.int32), torch.tensor([0]), torch.tensor([1_000]))
    (row,) = zip(*met_before(seen, 0, 1, 1), strict=True)
    assert [int(x) for x in row] == [0, 1, COUNTS - 1, 0]


def test_the_definition_of_the_bias_is_what_the_pairs_say():
    rng = torch.Generator().manual_seed(0)
    history = torch.randint(1, 8, (60,), generator=rng, dtype=torch.int32)
    seen = SeenItems(history, torch.tensor([0, 3, 20]), torch.tensor([60, 3, 41]))
    bias = RepeatBias(torch.randn(COUNTS, generator=rng), torch.randn(AGES, generator=rng))
    targets, expected = Targets(torch.ones(3, dtype=torch.int64), seen, bias), torch.zeros(3, 9)
    met = met_before(seen, 0, 3, 8)
    expected[met.position, met.item] = met.bias(bias)
    found = torch.stack([naive_bias(targets, p, torch.arange(9)) for p in range(3)])
    assert torch.equal(found, expected)
    assert found.any(1).tolist() == [True, False, True]
