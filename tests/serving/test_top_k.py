"""The list found by bounds of groups is the list of the matrix of all scores: same items, same order, same scores."""

import numpy as np
import pytest
import torch
from ranked_models import drawn_hidden, drawn_met, drawn_model

from grela.errors import ConfigError, RequestError
from grela.serving import top_k as module
from grela.serving.ranking import Candidates
from grela.serving.top_k import blocked, plain, top_k

PARTS = [
    {},
    {"next_gaps": 0},
    {"repeats": False},
    {"item_bias": False},
    {"repeats": False, "item_bias": False, "next_gaps": 0},
    {"next_gaps": 2, "item_bias": False},
]
EPS = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture
def small_groups(monkeypatch):
    """Groups of 8 items, three groups or so at a time, so that a small catalogue has many."""
    monkeypatch.setattr(module, "GROUP", 8)
    monkeypatch.setattr(module, "LOGITS", 8 * 3 * 5 * 4)


def every_item(num_items: int, *, filter_seen: bool = False) -> Candidates:
    return Candidates(np.ones(num_items, bool), filter_seen)


def must_be_equal(found, expected, *, dtype=torch.float64):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.items.tolist() == b.items.tolist()
        np.testing.assert_allclose(a.scores, b.scores, rtol=EPS[dtype], atol=EPS[dtype])


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("filter_seen", [False, True])
@pytest.mark.parametrize("k", [1, 7, 1000])
def test_lists_by_bounds_are_those_of_all_scores(small_groups, parts, filter_seen, k):
    for num_items in (1, 7, 8, 9, 200):
        model, met = drawn_model(num_items, **parts), drawn_met(5, num_items)
        given = model, drawn_hidden(5), met, every_item(num_items, filter_seen=filter_seen), k
        must_be_equal(blocked(*given), plain(*given))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
@pytest.mark.parametrize("filter_seen", [False, True])
def test_only_candidates_are_listed(small_groups, share, filter_seen):
    """However few they are, and wherever they lie."""
    for seed in range(5):
        allowed = np.random.default_rng(seed).random(203) < share
        model, met = drawn_model(203, seed=seed), drawn_met(4, 203, seed=seed)
        given = model, drawn_hidden(4, seed=seed), met, Candidates(allowed, filter_seen), 10
        found = blocked(*given)
        must_be_equal(found, plain(*given))
        for b, top in enumerate(found):
            own = met.item[met.position == b].numpy() - 1
            left = allowed.copy()
            left[own] &= not filter_seen
            assert left[top.items - 1].all()
            assert len(top.items) == min(10, left.sum())


def test_the_definition_filters_what_was_seen_and_no_more():
    """`plain` itself, against a plain loop over sorted scores."""
    model, met, hidden = drawn_model(50), drawn_met(6, 50), drawn_hidden(6)
    allowed = np.random.default_rng(0).random(50) < 0.7
    scores_BN = model.scores_with(hidden, met).detach().numpy()
    for b, top in enumerate(plain(model, hidden.detach(), met, Candidates(allowed, True), 9)):
        own = set(met.item[met.position == b].tolist())
        ranked = sorted(
            (item for item in range(1, 51) if allowed[item - 1] and item not in own),
            key=lambda item: (-scores_BN[b, item - 1], item),
        )
        assert top.items.tolist() == ranked[:9]


@pytest.mark.parametrize("parts", [{}, {"next_gaps": 0}])
def test_ties_go_to_the_smaller_id(small_groups, parts):
    """Copies of a few items lie in all groups; small whole numbers, so that products are exact."""
    model, hidden = drawn_model(100, **parts), drawn_hidden(3).round()
    with torch.no_grad():
        few = model.embedding.weight[1:8].round()
        model.embedding.weight[1:] = few.repeat(15, 1)[:100]
        model.item_bias.weight.fill_(1.0)
    given = model, hidden, drawn_met(3, 100), every_item(100), 40
    found = blocked(*given)
    must_be_equal(found, plain(*given))
    for top in found:
        same = np.flatnonzero(np.diff(top.scores) == 0)
        assert len(same) > 10
        assert (top.items[same + 1] > top.items[same]).all()


def test_in_single_precision_lists_are_the_same_to_its_rounding():
    """At the sizes that are served: groups as they are."""
    model = drawn_model(40_000, dtype=torch.float32)
    hidden, met = drawn_hidden(3, dtype=torch.float32), drawn_met(3, 40_000)
    given = model, hidden, met, every_item(40_000), 10
    with torch.inference_mode():
        must_be_equal(blocked(*given), plain(*given), dtype=torch.float32)


def test_what_is_looked_into_does_not_grow_with_the_catalogue(monkeypatch):
    looked: list[int] = []
    shown = module._shown
    monkeypatch.setattr(module, "_shown", lambda *given: looked.append(len(given[0])) or shown(*given))
    for num_items in (20_000, 80_000):
        looked.clear()
        model = drawn_model(num_items, dtype=torch.float32)
        top_k(model, drawn_hidden(2, dtype=torch.float32), drawn_met(2, num_items), every_item(num_items), 5)
        assert 0 < sum(looked) <= 2 * 4 * 5


def test_logits_held_at_a_time_are_bounded(monkeypatch):
    sizes: list[int] = []
    between = module.Logits.between

    def watched(self, low, high):
        sizes.append(self.queries.shape[0] * self.queries.shape[1] * (high - low))
        return between(self, low, high)

    monkeypatch.setattr(module.Logits, "between", watched)
    monkeypatch.setattr(module, "LOGITS", 50_000)
    model = drawn_model(20_000, dtype=torch.float32)
    top_k(model, drawn_hidden(20, dtype=torch.float32), drawn_met(20, 20_000), every_item(20_000), 5)
    assert max(sizes) <= 50_000
    assert sum(sizes) == 4 * 20 * 20_000


def test_many_histories_are_taken_some_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "HISTORIES", 3)
    model, hidden, met = drawn_model(30), drawn_hidden(8), drawn_met(8, 30)
    given = every_item(30, filter_seen=True), 6
    expected = plain(model, hidden, met, *given)
    must_be_equal(top_k(model, hidden, met, *given), expected)
    must_be_equal(top_k(model, hidden, met, *given, one_block=10), expected)


def test_nobody_gets_nothing():
    model = drawn_model(30)
    for one_block in (10, 100):
        assert top_k(model, drawn_hidden(0), drawn_met(1, 30), every_item(30), 5, one_block=one_block) == []


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(RequestError, match="k is 0, expected at least 1"):
        top_k(drawn_model(9), drawn_hidden(1), drawn_met(1, 9), every_item(9), 0)
    with pytest.raises(ConfigError, match="give `met`"):
        top_k(drawn_model(9), drawn_hidden(1), None, every_item(9), 5)
    plainest = drawn_model(9, repeats=False)
    with pytest.raises(ConfigError, match="give `met`"):
        top_k(plainest, drawn_hidden(1), None, every_item(9, filter_seen=True), 5)
    assert len(top_k(plainest, drawn_hidden(1), None, every_item(9), 5)[0].items) == 5
