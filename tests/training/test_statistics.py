"""What a model takes from the training events before it learns, by hand."""

import math

import numpy as np
import pytest

from grela.nn.item_bias import ItemBias
from grela.nn.next_gap import NextGap
from grela.ops.gaps import BUCKETS, TIED, UNKNOWN
from grela.training.sequences import TrainingSequences
from grela.training.statistics import gap_counts, repeat_log_odds


def log(*histories: list[int], gaps: np.ndarray | None = None) -> TrainingSequences:
    end = np.cumsum([len(h) for h in histories])
    items = np.array([item for h in histories for item in h], np.int32)
    return TrainingSequences(items, end - [len(h) for h in histories], end, gaps)


def test_repeats_observed_and_expected_by_hand():
    """Popularity: item 1 has 3/5 of events, 2 and 3 have 1/5 each.

    Observed: one target, the second 1. Expected: at the first history's targets it holds {1} and {1, 2}, or
    3/5 + 4/5; at the second's {3}, or 1/5.
    """
    found = repeat_log_odds(log([1, 2, 1], [3, 1]), 3)
    assert found == pytest.approx(math.log((1 + 0.5) / (3 / 5 + 4 / 5 + 1 / 5 + 0.5)))


def test_nothing_held_out_is_counted():
    whole = log([1, 2, 1], [3, 1])
    cut = TrainingSequences(whole.items, whole.start, whole.end - 1)
    assert repeat_log_odds(cut, 3) == pytest.approx(repeat_log_odds(log([1, 2], [3]), 3))


def test_who_repeats_gets_a_high_bias_and_who_never_does_a_low_one():
    loyal, curious = log([1, 1, 1, 1, 1], [2, 2, 2, 2]), log(*[list(range(1, 101))] * 10)
    assert repeat_log_odds(loyal, 100) > 0.5
    assert repeat_log_odds(curious, 100) < -5
    # Draws by popularity repeat as often as expected.
    rng = np.random.default_rng(0)
    drawn = log(*(rng.choice(np.arange(1, 21), 50, p=np.arange(1, 21) / 210).tolist() for _ in range(100)))
    assert abs(repeat_log_odds(drawn, 20)) < 0.05


def test_the_shortest_logs_have_a_bias_too():
    for sequences in (log([1]), log([1], [2]), log([])):
        assert repeat_log_odds(sequences, 2) == 0


def test_gaps_are_counted_where_they_are_of_targets():
    gaps = np.array([0, 7, 7, 0, 9, 5], np.uint8)
    found = gap_counts(log([1, 2, 3], [4, 5, 6], gaps=gaps))
    assert {b: int(n) for b, n in enumerate(found) if n} == {7: 2, 9: 1, 5: 1}
    assert gap_counts(log([1, 2, 3])).tolist() == [0] * BUCKETS


def classes_of(counts: dict[int, int], classes: int) -> np.ndarray:
    part = NextGap(2, classes)
    part.divide(np.array([counts.get(b, 0) for b in range(BUCKETS)]))
    return part.class_of.numpy()


def test_tied_and_unknown_gaps_are_class_0_and_the_others_rise_with_their_length():
    rng = np.random.default_rng(0)
    for classes in (2, 4, 9):
        found = classes_of(dict(enumerate(rng.integers(0, 50, BUCKETS).tolist())), classes)
        assert found[UNKNOWN] == found[TIED] == 0
        assert found[TIED + 1] == 1
        assert found[-1] == classes - 1
        assert (np.diff(found) >= 0).all()
        assert set(found) == set(range(classes))


def test_classes_of_longer_gaps_hold_about_as_many():
    counts = np.random.default_rng(1).integers(0, 50, BUCKETS)
    found = classes_of(dict(enumerate(counts.tolist())), 5)
    held = [counts[found == c][2 if c == 0 else 0 :].sum() for c in range(1, 5)]
    assert max(held) - min(held) <= 2 * counts.max()


def test_logs_without_any_longer_gap_can_be_divided():
    for counts in ({}, {TIED: 5, UNKNOWN: 3}):
        assert classes_of(counts, 4).max() <= 3


def test_item_biases_begin_at_the_logarithm_of_popularity():
    part = ItemBias(4)
    part.start_at(np.array([0, 3, 1, 5]))
    assert part.of_items.exp().tolist() == pytest.approx([1 / 13, 4 / 13, 2 / 13, 6 / 13])
    assert part.of_items.exp().sum().item() == pytest.approx(1)
