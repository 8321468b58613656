"""BERT4Rec is its definition in float64; masks are drawn as its authors draw them, and hide what they stand for."""

import numpy as np
import pytest
import torch

from grela.errors import ConfigError
from grela.models.bert4rec import BERT4Rec, BERT4RecConfig
from grela.models.sequential import Padded, Windows
from reference.naive_softmax_attention import attention, gelu, layer_norm, linear, parameters

ITEMS, WIDTH, POSITIONS = 13, 6, 9
MASK = ITEMS + 1
EPS = 1e-12


def naive_hidden(items, p, *, heads: int, layers: int):
    """The transformed hidden states [T, D] of one history's items, MASK among them."""
    table = np.concatenate((p["embedding.weight"], p["mask.weight"]))
    x = np.stack([table[i] + p["positions.weight"][t] for t, i in enumerate(items)])
    x = layer_norm(x, p, "embedding_norm", EPS)
    for layer in range(layers):
        name = f"blocks.{layer}."
        attended = attention(x, x, p, name + "attention", heads=heads, causal=False)
        x = layer_norm(x + attended, p, name + "attention_norm", EPS)
        fed = linear(gelu(linear(x, p, name + "up")), p, name + "down")
        x = layer_norm(x + fed, p, name + "feed_norm", EPS)
    return layer_norm(gelu(linear(x, p, "transform")), p, "transform_norm", EPS)


def random_model(**settings) -> BERT4Rec:
    """Without dropout, so that what is taught can be computed again."""
    rng = torch.Generator().manual_seed(0)
    config = BERT4RecConfig(width=WIDTH, inner_width=11, positions=POSITIONS, dropout=0.0, **settings)
    model = BERT4Rec(ITEMS, config, rng=rng).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model


def windows(*lengths: int, seed: int = 0) -> Windows:
    """Random windows each of whose events has a target: the next event, and at the end another item."""
    rng, longest = torch.Generator().manual_seed(seed), max(lengths)
    drawn = torch.randint(1, ITEMS + 1, (len(lengths), longest + 1), generator=rng)
    given = torch.tensor(lengths)
    there = torch.arange(longest) < given.unsqueeze(1)
    places = there.flatten().nonzero().squeeze(1)
    return Windows(Padded(drawn[:, :-1] * there, given), places, drawn[:, 1:].flatten()[places], None)


@pytest.mark.parametrize(("heads", "layers"), [(2, 2), (3, 1), (1, 3)])
@torch.no_grad()
def test_hidden_states_and_scores_are_their_definition(heads, layers):
    model, rng = random_model(heads=heads, layers=layers), np.random.default_rng(0)
    lengths = [POSITIONS, 1, 4]
    items = [rng.integers(1, MASK + 1, length) for length in lengths]
    items[0][3] = MASK
    rows = np.stack([np.pad(row, (0, POSITIONS - len(row))) for row in items])
    given, p = Padded(torch.from_numpy(rows), torch.tensor(lengths)), parameters(model)
    found = model.hidden(given)
    for s, row in enumerate(items):
        expected = naive_hidden(row, p, heads=heads, layers=layers)
        np.testing.assert_allclose(found[s, : len(row)], expected, rtol=1e-9, atol=1e-12)
    last = model.last_hidden(given)
    for s, row in enumerate(items):
        expected = naive_hidden([*row, MASK], p, heads=heads, layers=layers)[-1]
        np.testing.assert_allclose(last[s], expected, rtol=1e-9, atol=1e-12)
        scores = [
            expected @ p["embedding.weight"][i] + p["item_bias.weight"][i, 0] for i in range(1, ITEMS + 1)
        ]
        np.testing.assert_allclose(model.scores(last)[s], scores, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_a_row_teaches_its_masked_items_by_the_states_of_their_masks():
    model, given = random_model(masked=0.4, last_alone=0.3), windows(8, 2, 5, 9)
    taught = model.learn(given, torch.Generator().manual_seed(5))
    masked = model.masks(given.histories.lengths + 1, torch.Generator().manual_seed(5))
    p, at = parameters(model), 0
    for s, length in enumerate(given.histories.lengths.tolist()):
        start = int(given.histories.lengths[:s].sum())
        whole = [int(given.histories.items[s, 0]), *given.targets[start : start + length].tolist()]
        chosen = masked[s].nonzero().squeeze(1).tolist()
        read = [MASK if t in chosen else item for t, item in enumerate(whole)]
        expected = naive_hidden(read, p, heads=2, layers=2)[chosen]
        np.testing.assert_allclose(taught.hidden[at : at + len(chosen)], expected, rtol=1e-9, atol=1e-12)
        assert taught.items[at : at + len(chosen)].tolist() == [whole[t] for t in chosen]
        at += len(chosen)
    assert at == len(taught.items)


@torch.no_grad()
def test_what_is_masked_cannot_be_read():
    model, given = random_model(), windows(9, 7, 4)
    taught = model.learn(given, torch.Generator().manual_seed(3))
    masked = model.masks(given.histories.lengths + 1, torch.Generator().manual_seed(3))
    inner = masked[:, :-1] & given.histories.present
    items = torch.where(inner, given.histories.items % ITEMS + 1, given.histories.items)
    assert inner.any()
    changed = given._replace(histories=Padded(items, given.histories.lengths))
    again = model.learn(changed, torch.Generator().manual_seed(3))
    assert torch.equal(again.hidden, taught.hidden)
    assert not torch.equal(again.items, taught.items)


@torch.no_grad()
def test_a_sample_whose_last_item_alone_is_masked_asks_what_a_recommendation_does():
    model, given = random_model(last_alone=1.0), windows(9, 1, 4)
    taught = model.learn(given, torch.Generator())
    torch.testing.assert_close(taught.hidden, model.last_hidden(given.histories), rtol=1e-10, atol=1e-12)
    assert torch.equal(taught.items, given.targets[given.histories.lengths.cumsum(0) - 1])


def test_each_sample_has_its_share_of_masks_or_one_at_its_end():
    model = random_model(masked=0.3, last_alone=0.25)
    lengths = torch.tensor([10, 1, 2, 7]).repeat(3_000)
    masked = model.masks(lengths, torch.Generator().manual_seed(0))
    count = masked.sum(1)
    assert not (masked & (torch.arange(10) >= lengths.unsqueeze(1))).any()
    for length, some in ((10, 3), (1, 1), (2, 1), (7, 2)):
        of_length = masked[lengths == length, :length]
        alone = of_length[:, -1] & (of_length.sum(1) == 1)
        assert set(count[lengths == length].tolist()) <= {some, 1}
        if some > 1:
            assert alone.float().mean() == pytest.approx(0.25, abs=0.04)
            # Every place is as likely as another.
            share = of_length[~alone].float().mean(0)
            torch.testing.assert_close(share, torch.full((length,), some / length), rtol=0, atol=0.05)


def test_nothing_is_drawn_but_from_the_generator():
    model, given = random_model(), windows(9, 7, 4)
    first, again, other = (model.learn(given, torch.Generator().manual_seed(s)).items for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_defaults_are_the_papers():
    """Parameters for ML-1M's 3,416 items, of which the authors' code has a constant segment embedding more."""
    model = BERT4Rec(3416, BERT4RecConfig(), rng=torch.Generator())
    D, inner, square = 64, 256, 64 * 64 + 64
    block = 4 * square + (D * inner + inner) + (inner * D + D) + 2 * 2 * D
    tables = 3417 * D + D + 201 * D + 3417
    assert sum(p.numel() for p in model.parameters()) == tables + 2 * D + 2 * block + square + 2 * D


@pytest.mark.parametrize(("name", "value"), [("masked", -0.1), ("masked", 1.1), ("last_alone", 2.0)])
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value}, expected 0 to 1"):
        BERT4RecConfig(**{name: value})
