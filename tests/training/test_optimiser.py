"""The rate rises, peaks and falls; an optimiser restored takes the identical next step."""

from itertools import pairwise

import pytest
import torch
from training_cases import ITEMS

from grela.errors import CheckpointError
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.training.config import TrainingConfig
from grela.training.optimiser import (
    give_gradients,
    learning_rate,
    optimiser_tensors,
    optimisers,
    restore_optimisers,
)


def test_the_rate_rises_linearly_peaks_and_falls_to_nearly_zero():
    config = TrainingConfig(learning_rate=0.5, warmup_steps=20)
    rates = [learning_rate(config, step, 1000) for step in range(1000)]
    assert rates[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    assert max(rates) == rates[19] == rates[20] == 0.5
    assert all(b < a for a, b in pairwise(rates[20:]))
    assert rates[510] == pytest.approx(0.25)
    assert 0 < rates[-1] < 1e-5


def test_a_constant_schedule_stays_at_its_peak():
    config = TrainingConfig(learning_rate=0.5, warmup_steps=20, schedule="constant")
    assert learning_rate(config, 4, 1000) == pytest.approx(0.125)
    assert {learning_rate(config, step, 1000) for step in range(20, 1000)} == {0.5}


def test_a_short_training_is_not_all_warm_up():
    config = TrainingConfig(learning_rate=0.5, warmup_steps=300)
    rates = [learning_rate(config, step, 50) for step in range(50)]
    assert rates.index(max(rates)) <= 5
    assert learning_rate(config, 0, 1) == 0.5


def make(seed: int = 0, width: int = 8):
    model = RecGRELA(
        RecGRELAConfig(num_items=ITEMS, width=width, heads=2, layers=1),
        rng=torch.Generator().manual_seed(seed),
    )
    return model, optimisers(model, TrainingConfig(weight_decay=0.1))


def take_step(model, parts, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=rng)
    for optimiser in parts:
        optimiser.step()


def test_a_restored_optimiser_takes_the_identical_next_step():
    model, optimiser = make()
    for seed in range(3):
        take_step(model, optimiser, seed)
    other, restored = make(seed=1)
    other.load_state_dict(model.state_dict())
    tensors = {name: x.clone() for name, x in optimiser_tensors(model, optimiser).items()}
    restore_optimisers(other, restored, tensors)
    for seed in (3, 4):
        take_step(model, optimiser, seed)
        take_step(other, restored, seed)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_gradient_may_lie_otherwise_in_memory_than_its_parameter():
    """The fused optimiser reads both as they lie: given the transposed one as it is, it mixes numbers up."""
    drawn = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    def stepped(give) -> torch.Tensor:
        parameter = torch.nn.Parameter(torch.zeros(4, 3))
        give([parameter], [drawn.T.contiguous().T])
        torch.optim.AdamW([parameter], lr=0.1, fused=True).step()
        return parameter.detach()

    expected = -0.1 * drawn.sign()  # the first step of Adam
    torch.testing.assert_close(stepped(give_gradients), expected, rtol=1e-4, atol=1e-4)


def test_a_gradient_that_lies_as_its_parameter_does_is_not_copied():
    parameter, gradient = torch.nn.Parameter(torch.zeros(4, 3)), torch.ones(4, 3)
    give_gradients([parameter], [gradient])
    assert parameter.grad is gradient


def test_only_matrices_decay():
    model, optimiser = make()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser[0].step()
    shrunk = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    linear = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert shrunk == linear


def test_another_models_state_is_refused():
    model, optimiser = make()
    take_step(model, optimiser, 0)
    tensors = optimiser_tensors(model, optimiser)
    with pytest.raises(CheckpointError, match="which this model has not"):
        restore_optimisers(*make(width=12), tensors)
