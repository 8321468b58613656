"""Dropout keeps the mean, follows its generator, and does nothing without one; drop path takes whole histories."""

import math

import pytest
import torch

from grela.ops.dropout import drop_path, dropout, keep_mask

COUNT = 200_003  # not a multiple of the four elements of a draw


def generator(seed: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_rate_is_the_rate_and_the_mean_is_one(rate, device):
    mask = keep_mask((COUNT,), rate, generator(device=device), torch.float64)
    dropped = (mask == 0).double().mean().item()
    deviation = math.sqrt(rate * (1 - rate) / COUNT)
    assert abs(dropped - rate) < 5 * deviation + 2**-17
    assert abs(mask.mean().item() - 1) < 5 * deviation / (1 - rate) + 1e-4
    assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - rate)], rel=2**-14)


def test_neighbours_are_dropped_independently():
    """Four elements share one draw: lags 1 to 4 must show no correlation all the same."""
    dropped = (keep_mask((COUNT,), 0.3, generator(), torch.float64) == 0).double() - 0.3
    for lag in (1, 2, 3, 4):
        correlation = (dropped[lag:] * dropped[:-lag]).mean() / 0.21
        assert abs(correlation) < 5 / math.sqrt(COUNT)


def test_the_generator_decides():
    x = torch.ones(7, 11)
    first, again, other = (dropout(x, 0.4, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_generator_draws_anew_each_time():
    rng, x = generator(), torch.ones(100)
    assert not torch.equal(dropout(x, 0.5, rng), dropout(x, 0.5, rng))


def test_nothing_is_dropped_without_a_generator_or_at_rate_zero():
    x = torch.randn(3, 5, generator=generator())
    segments = torch.zeros(3, 5, dtype=torch.int64)
    assert dropout(x, 0.9, None) is x
    assert dropout(x, 0.0, generator()) is x
    assert drop_path(x.unsqueeze(-1), 0.9, segments, None).data_ptr() == x.data_ptr()
    assert torch.equal(drop_path(x.unsqueeze(-1), 0.0, segments, generator()), x.unsqueeze(-1))


def test_a_rate_next_to_one_still_gives_numbers():
    assert keep_mask((1000,), 0.9999999, generator(), torch.float32).isfinite().all()


def test_gradient_passes_where_values_pass():
    x = torch.randn(50, generator=generator()).requires_grad_()
    y = dropout(x, 0.5, generator(3))
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    assert torch.equal(x.grad[x.grad != 0].unique(), torch.tensor([2.0]))


def test_drop_path_takes_whole_histories(device):
    segments = torch.arange(500, device=device).repeat_interleave(3).expand(2, -1)
    y = torch.ones(2, 1500, 4, device=device)
    kept = drop_path(y, 0.25, segments, generator(device=device))
    per_history = kept.reshape(2, 500, 12)
    assert torch.equal(per_history, per_history[..., :1].expand(2, 500, 12))
    dropped = (per_history[..., 0] == 0).float()
    assert abs(dropped.mean().item() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 1000)
    assert per_history.unique().tolist() == pytest.approx([0, 4 / 3])
    assert not torch.equal(dropped[0], dropped[1])
