"""Parameters begin as the paper's do, from the given generator alone."""

import pytest
import torch
from torch import nn

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.init import initialise
from grela.nn.item_bias import ItemBias


def model(seed: int = 0) -> RecGRELA:
    config = RecGRELAConfig(num_items=500, learned_positions=60)
    return RecGRELA(config, rng=torch.Generator().manual_seed(seed))


def test_parameters_have_the_papers_statistics():
    for name, module in model().named_modules():
        if isinstance(module, nn.Linear | nn.Embedding) and not isinstance(module, ItemBias):
            count = module.weight.numel()
            assert abs(module.weight.mean().item()) < 5 * 0.02 / count**0.5, name
            assert module.weight.std().item() == pytest.approx(0.02, rel=5 / count**0.5), name
        if isinstance(module, nn.Linear):
            assert not module.bias.any(), name
        if isinstance(module, nn.LayerNorm):
            assert module.eps == 1e-12
            assert (module.weight == 1).all(), name
            assert not module.bias.any(), name
        if isinstance(module, nn.Conv1d):
            # Uniform in +-1/sqrt(4 taps): within the bound, and near it somewhere.
            for parameter in (module.weight, module.bias):
                assert 0.4 < parameter.abs().max() <= 0.5, name
                assert abs(parameter.mean()) < 0.2, name


def test_biases_of_scores_begin_at_nothing_and_maps_of_gaps_at_next_to_nothing():
    begun = model()
    assert not any(p.any() for part in (begun.repeats, begun.item_bias) for p in part.parameters())
    for parameter in (*begun.next_gap.parameters(), begun.after_next.map):
        assert parameter.std().item() == pytest.approx(0.02, rel=5 / parameter.numel() ** 0.5)
    assert not begun.next_gap.class_of.any()


def test_the_seed_decides_every_parameter():
    first, again, other = model(1), model(1), model(2)
    torch.rand(3)  # the global generator has no say
    for (name, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        drawn = (a.dim() > 1 or "conv" in name) and "item_bias" not in name
        assert torch.equal(a, c) != drawn, name


def test_a_start_of_its_own_goes_before_the_rule_of_its_kind():
    class Ones(nn.Linear):
        def start_from(self, rng):
            self.weight.fill_(1)
            self.bias.fill_(2)

    begun = nn.Sequential(Ones(3, 4), nn.Linear(4, 2))
    initialise(begun, torch.Generator().manual_seed(0))
    assert (begun[0].weight == 1).all()
    assert (begun[0].bias == 2).all()
    assert 0 < begun[1].weight.abs().max() < 0.1


def test_a_module_without_a_rule_is_refused():
    with pytest.raises(TypeError, match="BatchNorm1d"):
        initialise(nn.Sequential(nn.BatchNorm1d(3)), torch.Generator())
