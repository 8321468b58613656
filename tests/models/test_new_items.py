"""Items added after training: what their rows are made of, and that nothing else changes."""

import numpy as np
import pytest
import torch
from model_cases import ITEMS, causal_hidden, draw_items, trained_size_model

from grela.errors import ConfigError
from grela.models.fingerprint import state_fingerprints
from grela.models.new_items import FeatureMap, ItemRows, like_neighbours, rows_of, with_rows, without_added
from grela.models.recgrela import RecGRELAConfig

WIDTH = 12


def small_model(**settings):
    return trained_size_model(dtype=torch.float32, **settings)


def rows(count: int, seed: int = 0) -> ItemRows:
    rng = np.random.default_rng(seed)
    return ItemRows(
        rng.normal(size=(count, WIDTH)).astype(np.float32), rng.normal(size=count).astype(np.float32)
    )


def test_a_neighbours_row_is_the_weighted_mean():
    model = small_model()
    weights = np.array([3.0, 1.0])
    found = like_neighbours(model, np.array([7, 50]), weights)
    table, biases = model.embedding.weight.detach().numpy(), model.item_bias.weight.detach().numpy()[:, 0]
    np.testing.assert_allclose(found.embeddings, [(3 * table[7] + table[50]) / 4], rtol=1e-6)
    np.testing.assert_allclose(found.biases, [(3 * biases[7] + biases[50]) / 4], rtol=1e-6)
    one = like_neighbours(model, np.array([7]), np.array([0.1]))
    assert np.array_equal(one.embeddings[0], table[7])


def test_features_that_decide_the_rows_give_them_back():
    """A linear law without noise: items left out are foretold by their features, the least ridge is chosen."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 5)) * [1, 10, 0.1, 1, 0] + [0, 3, 0, 0, 7]  # one of them constant
    law, start = rng.normal(size=(5, WIDTH + 1)), rng.normal(size=WIDTH + 1)
    targets = features @ law + start
    known = ItemRows(targets[:60, :-1], targets[:60, -1])
    learned = FeatureMap.fitted(features[:60], known)
    found = learned.rows(features[60:])
    np.testing.assert_allclose(found.embeddings, targets[60:, :-1], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.biases, targets[60:, -1], rtol=1e-3, atol=1e-3)
    assert learned.ridges == (1e-6, 1e-6)


def test_features_that_say_nothing_give_the_mean_row():
    rng = np.random.default_rng(1)
    known = rows(60)
    learned = FeatureMap.fitted(rng.normal(size=(60, 30)), known)
    assert min(learned.ridges) >= 1
    away = np.abs(learned.rows(rng.normal(size=(9, 30))).embeddings - known.embeddings.mean(0)).max()
    assert away < 0.6 * np.abs(known.embeddings).max()


def test_the_ridge_chosen_is_that_of_least_error_left_out():
    """The closed form, against leaving each item out in turn."""
    rng = np.random.default_rng(2)
    features, known = rng.normal(size=(20, 4)), rows(20, 3)
    targets = np.column_stack([known.embeddings, known.biases]).astype(np.float64)
    targets[:, 0] += 2 * features[:, 1]
    known = ItemRows(targets[:, :-1].astype(np.float32), targets[:, -1].astype(np.float32))
    targets = known.embeddings.astype(np.float64)
    learned = FeatureMap.fitted(features, known)
    X = (features - learned.mean) / learned.scale
    chosen = learned.ridges[0]
    assert 1e-6 < chosen < 1e3
    errors = {}
    for ridge in (chosen / 10, chosen, chosen * 10):
        # With all means and deviations as of the whole, as the closed form has them: an unpenalised column of ones.
        A = np.column_stack([np.ones(20), X])
        penalty = np.diag([0.0] + [20 * ridge] * 4)
        left = []
        for i in range(20):
            keep = np.arange(20) != i
            solved = np.linalg.solve(A[keep].T @ A[keep] + penalty, A[keep].T @ targets[keep])
            left.append(((targets[i] - A[i] @ solved) ** 2).mean())
        errors[ridge] = np.mean(left)
    assert min(errors, key=errors.get) == chosen


@pytest.mark.parametrize("form", ["causal", "bidirectional"])
def test_what_the_model_said_of_known_items_it_says_still(form):
    model = small_model(form=form, next_gaps=0)
    larger = with_rows(model, rows(3))
    assert larger.config.num_items == ITEMS + 3
    assert larger.config.added_items == 3
    items, lengths = draw_items(2, 6), torch.tensor([6, 4])
    hidden = model.last_hidden(items, lengths)
    assert torch.equal(hidden, larger.last_hidden(items, lengths))
    from model_cases import seen_of_each

    seen = seen_of_each([items[0], items[1, :4]])
    scores, more = model.scores(hidden, seen), larger.scores(hidden, seen)
    torch.testing.assert_close(more[:, :ITEMS], scores)
    expected = hidden @ torch.from_numpy(rows(3).embeddings).T + torch.from_numpy(rows(3).biases)
    torch.testing.assert_close(more[:, ITEMS:], expected)


def test_a_copy_of_an_item_is_understood_and_scored_as_the_item():
    model = small_model()
    larger = with_rows(model, rows_of(model, np.array([9])))
    history = draw_items(7)
    history[3] = 9
    copied = history.clone()
    copied[3] = ITEMS + 1
    hidden = causal_hidden(larger, history)
    assert torch.equal(hidden, causal_hidden(larger, copied))
    seen_nothing = larger.scores_with(hidden[-1:], None)
    torch.testing.assert_close(seen_nothing[0, ITEMS], seen_nothing[0, 8])


def test_taken_away_again_the_model_is_as_it_was():
    model = small_model()
    back = without_added(with_rows(with_rows(model, rows(2)), rows(1, 5)))
    assert back.config == model.config
    assert all(torch.equal(back.state_dict()[name], value) for name, value in model.state_dict().items())
    assert without_added(model) is model


def test_a_model_without_biases_has_none_for_new_items():
    model = small_model(item_bias=False)
    assert (rows_of(model, np.array([1, 2])).biases == 0).all()
    assert with_rows(model, rows(1)).item_bias is None


def test_rows_of_another_width_are_refused():
    with pytest.raises(ConfigError, match=r"embeddings are \(1, 5\), expected \(1, 12\)"):
        with_rows(small_model(), ItemRows(np.zeros((1, 5), np.float32), np.zeros(1, np.float32)))
    with pytest.raises(ConfigError, match="added_items is 4, expected 0 to num_items, 3"):
        RecGRELAConfig(num_items=3, added_items=4)


def test_states_stay_good_as_items_are_added_and_no_other_way():
    model = small_model()
    (before,) = state_fingerprints(model)
    grown = with_rows(model, rows(2))
    prints = state_fingerprints(grown)
    assert prints[0] == before
    assert len(set(prints)) == 3
    assert state_fingerprints(with_rows(grown, rows(1, 4)))[:3] == prints
    assert state_fingerprints(with_rows(model, rows(2, 9)))[1] != prints[1]
    assert state_fingerprints(without_added(grown)) == [before]


def test_a_state_depends_on_blocks_and_embeddings_and_not_on_what_scores_read():
    for name, parameter in small_model().named_parameters():
        model = small_model()
        with torch.no_grad():
            dict(model.named_parameters())[name].view(-1)[-1] += 1
        of_scores = name.startswith(("repeats.", "item_bias.", "next_gap.", "after_next."))
        assert (state_fingerprints(model) == state_fingerprints(small_model())) == of_scores, name
        assert parameter.requires_grad
    assert state_fingerprints(small_model(taps=3)) != state_fingerprints(small_model())
