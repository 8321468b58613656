"""HSTU is its definition in float64; with times it reads how far events lie apart, and never when the target comes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from grela.models.hstu import BUCKETS, HSTU, HSTUConfig, time_buckets
from grela.models.sequential import Padded
from reference.naive_softmax_attention import layer_norm, parameters

ITEMS, WIDTH, POSITIONS = 13, 6, 9
EPS = 1e-6


def silu(x):
    return x / (1 + np.exp(-x))


def plain_norm(x):
    return (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + EPS)


def naive_hidden(items, times, p, *, heads: int, layers: int):
    """The hidden states [T, D] of one history; `times` None where they are not read."""
    D = p["embedding.weight"].shape[1]
    each = D // heads
    x = np.stack(
        [math.sqrt(D) * p["embedding.weight"][i] + p["positions.weight"][t] for t, i in enumerate(items)]
    )
    for layer in range(layers):
        name = f"blocks.{layer}."
        projected = np.stack([silu(p[name + "project.weight"] @ plain_norm(row)) for row in x])
        u, v, q, k = (projected[:, part * D : (part + 1) * D] for part in range(4))
        out = np.zeros_like(x)
        for i in range(len(items)):
            mixed = np.zeros(D)
            for j in range(i + 1):
                bias = p[name + "position_bias"][i - j]
                if times is not None:
                    bias += p[name + "time_bias"][naive_bucket(times[i] - times[j])]
                for h in range(heads):
                    part = slice(h * each, (h + 1) * each)
                    mixed[part] += silu(q[i, part] @ k[j, part] + bias) / POSITIONS * v[j, part]
            out[i] = p[name + "out.weight"] @ (plain_norm(mixed) * u[i]) + p[name + "out.bias"]
        x = x + out
    return layer_norm(x, p, "norm", EPS)


def naive_bucket(apart: float) -> int:
    return min(math.floor(math.log(max(apart, 1)) / 0.301), 128)


def random_model(*, times: bool, heads: int = 2, layers: int = 2, dropout: float = 0.2) -> HSTU:
    rng = torch.Generator().manual_seed(0)
    config = HSTUConfig(
        width=WIDTH, heads=heads, layers=layers, dropout=dropout, positions=POSITIONS, times=times
    )
    model = HSTU(ITEMS, config, rng=rng).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model


def histories(*lengths: int, seed: int = 0) -> Padded:
    """Random items at times whose gaps are of all sizes, from none to months of seconds."""
    rng = torch.Generator().manual_seed(seed)
    given = torch.tensor(lengths)
    there = torch.arange(max(lengths)) < given.unsqueeze(1)
    items = torch.randint(1, ITEMS + 1, there.shape, generator=rng)
    gaps = (17 * torch.rand(there.shape, generator=rng, dtype=torch.float64)).exp().round() - 1
    gaps[:, 0] = 0
    return Padded(items * there, given, gaps.cumsum(1) * there)


@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize(("heads", "layers"), [(1, 2), (3, 1), (2, 3)])
@torch.no_grad()
def test_hidden_states_and_scores_are_their_definition(heads, layers, times):
    model, given = random_model(times=times, heads=heads, layers=layers), histories(POSITIONS, 1, 4)
    found, last, p = model.hidden(given), model.last_hidden(given), parameters(model)
    for s, length in enumerate(given.lengths.tolist()):
        when = given.times[s].tolist() if times else None
        expected = naive_hidden(given.items[s, :length].tolist(), when, p, heads=heads, layers=layers)
        np.testing.assert_allclose(found[s, :length], expected, rtol=1e-9, atol=1e-12)
        scores = [expected[-1] @ p["embedding.weight"][i] for i in range(1, ITEMS + 1)]
        np.testing.assert_allclose(model.scores(last)[s], scores, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_each_bias_has_a_say_in_the_last_state():
    given = histories(POSITIONS)
    model = random_model(times=True)
    before = model.last_hidden(given)
    buckets = time_buckets(given.times)[0, -1]
    for table, entries in (("position_bias", range(POSITIONS)), ("time_bias", set(buckets.tolist()))):
        for entry in entries:
            changed = random_model(times=True)
            getattr(changed.blocks[-1], table)[entry] += 1
            assert not torch.allclose(changed.last_hidden(given), before), (table, entry)


@torch.no_grad()
def test_a_state_depends_on_no_later_time():
    model, given = random_model(times=True), histories(POSITIONS)
    found = model.hidden(given)
    for event in range(1, POSITIONS):
        later = given.times.clone()
        later[:, event:] += 1e9
        changed = model.hidden(given._replace(times=later))
        assert torch.equal(changed[0, :event], found[0, :event])
        assert not torch.allclose(changed[0, event], found[0, event])


@torch.no_grad()
def test_only_differences_of_times_are_read():
    model, given = random_model(times=True), histories(POSITIONS, 5)
    found = model.last_hidden(given)
    torch.testing.assert_close(model.last_hidden(given._replace(times=given.times + 1000)), found)
    assert not torch.allclose(model.last_hidden(given._replace(times=given.times * 3)), found)


@torch.no_grad()
def test_without_times_none_are_read_and_with_times_none_may_be_missing():
    given = histories(POSITIONS, 5)
    without, reading = random_model(times=False), random_model(times=True)
    assert (without.reads_times, reading.reads_times) == (False, True)
    assert torch.equal(without.hidden(given), without.hidden(given._replace(times=None)))
    with pytest.raises(ValueError, match="have no times, which this model reads: give them"):
        reading.hidden(given._replace(times=None))


def test_buckets_are_steps_of_the_logarithm():
    times = torch.tensor(
        [[0.0, 0.5, 1.0, math.exp(0.302), 60.0, 86400.0, 1e30, math.nan]], dtype=torch.float64
    )
    found = time_buckets(times)
    assert found.shape == (1, 8, 8)
    assert found[0, :, 0].tolist() == [0, 0, 0, 1, 13, 37, 128, 0]
    assert found[0, 5].tolist()[:5] == [naive_bucket(86400 - t) for t in times[0, :5].tolist()]
    assert not found[0, 7].any()
    assert found.max() == BUCKETS - 1


@torch.no_grad()
def test_dropout_is_of_the_input_and_inside_each_layer():
    """From the call's generator; without one nothing is dropped."""
    given, model = histories(POSITIONS), random_model(times=False, layers=1)
    nothing = model.hidden(given)
    assert torch.equal(nothing, random_model(times=False, layers=1, dropout=0.9).hidden(given))
    first, again, other = (model.hidden(given, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    model.blocks[0].rate = 0.0
    of_input = model.hidden(given, torch.Generator().manual_seed(1))
    assert not torch.allclose(of_input, first)
    assert not torch.allclose(of_input, nothing)


def test_parameters_begin_as_in_metas_code():
    D = 50
    model = HSTU(500, HSTUConfig(times=True), rng=torch.Generator().manual_seed(0))
    assert model.embedding.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.positions.weight.std().item() == pytest.approx(D**-0.5, rel=0.05)
    for block in model.blocks:
        assert block.project.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert block.position_bias.std().item() == pytest.approx(0.02, rel=0.3)
        assert block.time_bias.std().item() == pytest.approx(0.02, rel=0.3)
        bound = math.sqrt(6 / (D + D))
        assert 0.95 * bound < block.out.weight.abs().max() <= bound
        assert block.out.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_the_defaults_are_metas():
    """Parameters for ML-1M's 3,416 items."""
    D, config = 50, HSTUConfig()
    each = 4 * D * D + 200 + D * D + D
    count = 3417 * D + 200 * D + 2 * each + 2 * D
    for found, expected in ((config, count), (replace(config, times=True), count + 2 * BUCKETS)):
        model = HSTU(3416, found, rng=torch.Generator())
        assert sum(p.numel() for p in model.parameters()) == expected
