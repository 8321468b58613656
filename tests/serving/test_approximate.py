"""What an approximate index misses, and what it does not: order, scores of one class, what was met, who is allowed."""

import numpy as np
import pytest
import torch
from ranked_models import WIDTH, drawn_hidden, drawn_met, drawn_model

from grela.errors import ConfigError
from grela.serving import approximate as module
from grela.serving.ranking import Candidates
from grela.serving.top_k import top_k

faiss = pytest.importorskip("faiss", reason="the extra `approximate` is not installed")

ITEMS, BATCH = 6_000, 12
ALL_LISTS = 10_000


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def given(*, filter_seen: bool = False, allowed: np.ndarray | None = None, items: int = ITEMS):
    candidates = Candidates(np.ones(items, bool) if allowed is None else allowed, filter_seen)
    return drawn_hidden(BATCH, dtype=torch.float32), drawn_met(BATCH, items), candidates, 10


def recall(found, expected) -> float:
    return float(
        np.mean(
            [len(set(a.items) & set(b.items)) / len(b.items) for a, b in zip(found, expected, strict=True)]
        )
    )


PARTS = [{}, {"next_gaps": 0}, {"item_bias": False}, {"repeats": False}]


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("filter_seen", [False, True])
def test_looking_into_all_lists_finds_the_exact_list(parts, filter_seen):
    """So nothing is lost but by lists that are not looked into; normalisers by the sample change next to nothing."""
    model, asked = drawn_model(ITEMS, dtype=torch.float32, **parts), given(filter_seen=filter_seen)
    found = module.ApproximateIndex.of(model, probes=ALL_LISTS).top(*asked)
    expected = top_k(model, *asked)
    assert recall(found, expected) > 0.97
    for a, b in zip(found, expected, strict=True):
        both = dict(zip(a.items.tolist(), a.scores.tolist(), strict=True))
        off = [
            both[item] - score
            for item, score in zip(b.items.tolist(), b.scores.tolist(), strict=True)
            if item in both
        ]
        if model.next_gap is None:
            np.testing.assert_allclose(off, 0, atol=1e-4)
        assert np.abs(off).max() < 0.2


def test_without_classes_the_order_and_the_scores_are_exact():
    model = drawn_model(ITEMS, dtype=torch.float32, next_gaps=0)
    index = module.ApproximateIndex.of(model, probes=8)
    hidden, met, candidates, k = given()
    scores_BN = model.scores_with(hidden, met).detach().numpy()
    for b, top in enumerate(index.top(hidden, met, candidates, k)):
        np.testing.assert_allclose(top.scores, scores_BN[b, top.items - 1], rtol=1e-5, atol=1e-5)
        assert (np.diff(top.scores) <= 0).all()


def test_more_probes_find_more():
    model, asked = drawn_model(ITEMS, dtype=torch.float32), given(filter_seen=True)
    expected = top_k(model, *asked)
    found = [
        recall(module.ApproximateIndex.of(model, probes=p).top(*asked), expected) for p in (1, 16, ALL_LISTS)
    ]
    assert found[0] < found[1] <= found[2]


def test_what_was_met_is_always_a_candidate():
    """Though the index knows nothing of the bias for items met, and looks where they are not."""
    model = drawn_model(ITEMS, dtype=torch.float32)
    with torch.no_grad():
        model.repeats.by_count.fill_(60.0)
        model.repeats.by_age.zero_()
    hidden, met, candidates, _ = given()
    found = module.ApproximateIndex.of(model, probes=1).top(hidden, met, candidates, 3)
    exact = top_k(model, hidden, met, candidates, 3)
    for b in range(1, BATCH):
        own = set(met.item[met.position == b].tolist())
        if len(own) >= 3:
            assert found[b].items.tolist() == exact[b].items.tolist()
            assert set(found[b].items.tolist()) <= own


@pytest.mark.parametrize("share", [0.5, 0.02, 0.0005])
def test_only_candidates_are_listed_and_never_too_few(share):
    """Where the lists looked into hold too few, the list is the exact one."""
    allowed = np.random.default_rng(0).random(ITEMS) < share
    model, asked = drawn_model(ITEMS, dtype=torch.float32), given(allowed=allowed, filter_seen=True)
    for a, b in zip(
        module.ApproximateIndex.of(model, probes=4).top(*asked), top_k(model, *asked), strict=True
    ):
        assert allowed[a.items - 1].all()
        assert len(a.items) == len(b.items)


def test_the_sums_of_candidates_and_of_all_else_are_that_of_all():
    """With every item in the sample the normaliser is exact."""
    logits_CN = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([3, 7, 20])
    found = module._total(logits_CN[:, places], places, logits_CN, torch.arange(50), 50)
    torch.testing.assert_close(found, logits_CN.logsumexp(1))
    everything = torch.arange(50)
    torch.testing.assert_close(
        module._total(logits_CN, everything, logits_CN, everything, 50), logits_CN.logsumexp(1)
    )


def test_nearest_vectors_are_those_of_the_largest_logits():
    rng = np.random.default_rng(0)
    weights, biases = rng.normal(size=(300, 5)).astype(np.float32), rng.normal(-9, 2, 300).astype(np.float32)
    query, scale = rng.normal(size=5), 1.7
    vectors, length = module.lifted(weights, biases, scale)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), length, rtol=1e-5)
    asked = np.concatenate([query, [scale, 0]])
    distances = ((vectors - asked * 3) ** 2).sum(1)
    assert np.array_equal(np.argsort(distances)[:20], np.argsort(-(weights @ query + biases))[:20])


def test_small_catalogues_and_nobody_are_no_trouble(capfd):
    for items in (1, 5, 100):
        model = drawn_model(items, dtype=torch.float32)
        asked = given(items=items)
        found = module.ApproximateIndex.of(model).top(*asked)
        assert [top.items.tolist() for top in found] == [top.items.tolist() for top in top_k(model, *asked)]
        assert (
            module.ApproximateIndex.of(model).top(torch.zeros(0, WIDTH), drawn_met(1, items), *asked[2:])
            == []
        )
    assert "WARNING" not in capfd.readouterr().out


def test_what_makes_no_sense_is_refused(monkeypatch):
    model = drawn_model(50, dtype=torch.float32)
    with pytest.raises(ConfigError, match="probes is 0"):
        module.ApproximateIndex.of(model, probes=0)
    hidden, _, candidates, k = given(items=50)
    with pytest.raises(ConfigError, match="give `met`"):
        module.ApproximateIndex.of(model).top(hidden, None, candidates, k)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"install it: pip install 'grela\[approximate\]', or rank exactly"):
        module.ApproximateIndex.of(model)


def test_the_facade_is_exact_unless_asked():
    from fit_cases import fitted, items
    from grela import NewItem

    index = fitted().approximate_index()
    who = [103, [500, 501], []]
    exact, found = fitted().recommend(who, k=5), fitted().recommend(who, k=5, approximate=index)
    assert [items(one) for one in found] == [items(one) for one in exact]
    changed = fitted().with_items([NewItem(item=900, like=[505])])
    with pytest.raises(ConfigError, match="of another model, or of other items"):
        changed.recommend(who, approximate=index)
