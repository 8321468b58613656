"""A history's scores depend on that history alone: not on its batch, the budget, or how it was cut into pieces."""

import numpy as np
import pytest
import torch

from grela.data.histories import HistoryBatch
from grela.models.forms import choose_form
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS, NO_TIME
from grela.serving.scorer import ModelScorer
from reference import naive_gaps, naive_recgrela

ITEMS, WINDOW = 30, 20
LENGTHS = [1, 0, 5, 70, 20, 21, 0, 33, 2]


def make_model(form: str) -> RecGRELA:
    """Embeddings of size 1 and matrices of unit gain, so that every event shows in the scores."""
    config = RecGRELAConfig(num_items=ITEMS, width=12, heads=3, layers=2, form=form)
    rng = torch.Generator().manual_seed(0)
    model = RecGRELA(config, rng=rng)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                gain = 1.0 if len(parameter) in (ITEMS + 1, BUCKETS) else parameter.shape[-1] ** -0.5
                parameter.normal_(0, gain, generator=rng)
        for table in (model.repeats.by_count, model.repeats.by_age):
            table.normal_(0, 1, generator=rng)
    model.next_gap.divide(np.ones(BUCKETS, np.int64))
    return model


@pytest.fixture
def histories() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, ITEMS + 1, length).astype(np.int32) for length in LENGTHS]


@pytest.fixture
def times(histories) -> list[np.ndarray]:
    """Some events at once, some years apart, some at no known time."""
    rng = np.random.default_rng(1)
    found = [np.cumsum((2.0 ** rng.integers(-1, 30, len(h))).astype(np.int64)) for h in histories]
    for when in found:
        when[rng.random(len(when)) < 0.1] = NO_TIME
    return found


FORMS = pytest.mark.parametrize("form", ["causal", "bidirectional"])
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def one_by_one(model: RecGRELA, histories: list[np.ndarray], times: list[np.ndarray]) -> np.ndarray:
    """Each history by the loops: hidden states of all of it (causal) or of its last events, scores by all of it."""
    p = {name: x.detach().double().numpy() for name, x in model.named_parameters()}
    rows = np.zeros((len(histories), ITEMS))
    for b, (history, when) in enumerate(zip(histories, times, strict=True)):
        read = slice(-WINDOW if model.config.form == "bidirectional" else None, None)
        state = np.zeros(model.config.width)
        if len(history):
            gaps = naive_gaps.buckets(when.tolist())[read]
            sizes = {"heads": model.config.heads, "layers": model.config.layers, "form": model.config.form}
            state = naive_recgrela.hidden(p, history[read].tolist(), gaps=gaps, **sizes)[-1]
        rows[b] = naive_recgrela.scores(p, state, history.tolist())
    return rows


@FORMS
@pytest.mark.parametrize("positions", [1, 7, 20, 33, 100, 16_384])
def test_scores_depend_on_neither_batch_nor_budget(form, positions, histories, times):
    """A budget of 7 cuts the histories into pieces with their state carried along."""
    model = make_model(form)
    scorer = ModelScorer(model, window=WINDOW, positions=positions)
    found = scorer.scores(HistoryBatch.of(histories, times))
    assert found.shape == (len(histories), scorer.num_items)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, one_by_one(model, histories, times), **CLOSE)


@FORMS
def test_without_times_all_gaps_are_unknown(form, histories, times):
    scorer = ModelScorer(make_model(form), window=WINDOW)
    nowhen = [np.full(len(h), NO_TIME) for h in histories]
    without = scorer.scores(HistoryBatch.of(histories))
    assert np.array_equal(without, scorer.scores(HistoryBatch.of(histories, nowhen)))
    assert np.abs(without - scorer.scores(HistoryBatch.of(histories, times)))[3].max() > 0.01


@FORMS
def test_order_of_the_batch_is_order_of_the_scores(form, histories):
    scorer = ModelScorer(make_model(form), window=WINDOW, positions=50)
    batch, order = HistoryBatch.of(histories), np.random.default_rng(1).permutation(len(histories))
    np.testing.assert_allclose(scorer.scores(batch.take(order)), scorer.scores(batch)[order], **CLOSE)


@FORMS
def test_empty_histories_score_items_by_their_own_bias_alone(form, histories):
    model = make_model(form)
    scorer = ModelScorer(model, window=WINDOW)
    found = scorer.scores(HistoryBatch.of(histories))
    expected = model.item_bias.of_items.log_softmax(0).detach().numpy()
    np.testing.assert_allclose(found[[1, 6]], [expected] * 2, **CLOSE)
    np.testing.assert_allclose(scorer.scores(HistoryBatch.of([np.zeros(0, np.int32)])), [expected], **CLOSE)
    assert scorer.scores(HistoryBatch.of([])).shape == (0, ITEMS)


def test_causal_reads_beyond_the_window_and_bidirectional_does_not(histories):
    """Hidden states: the bias on items met knows the whole history either way."""
    long = histories[3]
    changed = long.copy()
    changed[:40] = changed[:40] % ITEMS + 1
    both = HistoryBatch.of([long, changed])
    a, b = ModelScorer(make_model("causal"), window=WINDOW).hidden(both).numpy()
    assert np.abs(a - b).max() > 1e-2
    a, b = ModelScorer(make_model("bidirectional"), window=WINDOW).hidden(both).numpy()
    assert np.array_equal(a, b)


def test_bidirectional_rows_are_full_and_stay_within_the_budget(monkeypatch):
    """A long history among many short ones takes no more than its own events."""
    model, sizes = make_model("bidirectional"), []
    original = model.packed_last_hidden

    def watched(items, packing, form, gaps):
        sizes.append(len(items))
        assert len(gaps) == len(items)
        return original(items, packing, form=form, gaps=gaps)

    monkeypatch.setattr(model, "packed_last_hidden", watched)
    histories = [np.ones(20 if b == 30 else 1, np.int32) for b in range(60)]
    ModelScorer(model, window=WINDOW, positions=50).scores(HistoryBatch.of(histories))
    assert sorted(sizes) == [29, 50]


@FORMS
def test_bfloat16_scores_are_near(form, histories):
    model, batch = make_model(form), HistoryBatch.of(histories)
    exact = ModelScorer(model, window=WINDOW).scores(batch)
    found = ModelScorer(model, window=WINDOW, dtype=torch.bfloat16, positions=30).scores(batch)
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


@FORMS
@pytest.mark.usefixtures("kernels")
def test_compiled_kernels_score_as_torch_does(form, histories):
    config = RecGRELAConfig(num_items=ITEMS, width=32, heads=2, layers=2, form=form)
    model, batch = RecGRELA(config, rng=torch.Generator().manual_seed(0)), HistoryBatch.of(histories)
    compiled = ModelScorer(model, window=WINDOW, positions=50, form=choose_form(model, "compiled"))
    found, expected = compiled.scores(batch), ModelScorer(model, window=WINDOW).scores(batch)
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)
