"""A training config refuses nonsense before anything is computed."""

import pytest

from grela.errors import ConfigError
from grela.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("window", 1),
        ("batch_positions", -1),
        ("loss", "cross_entropy"),
        ("negatives", 0),
        ("frequency_power", -0.1),
        ("frequency_power", float("nan")),
        ("calibration", 1.1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("warmup_steps", -1),
        ("weight_decay", 1.0),
        ("weight_decay", -0.1),
        ("clip_norm", 0.0),
        ("patience", -1),
        ("precision", "fp8"),
        ("histories", "whole"),
        ("checkpoint_seconds", -1.0),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_nonsense_is_refused_naming_field_and_value(field, value):
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(**{field: value})
    assert field in str(caught.value)
    assert str(value) in str(caught.value)


def test_a_window_must_fit_into_a_step():
    with pytest.raises(ConfigError, match="window 300 is more than batch_positions 200"):
        TrainingConfig(window=300, batch_positions=200)


def test_steps_left_open_are_sized_for_the_log_and_given_ones_are_kept():
    def size(events, **settings):
        return TrainingConfig(**settings).sized_for(events, form="causal").batch_positions

    assert [size(n) for n in (10, 98_000, 600_000, 987_000, 10**8)] == [1024, 1024, 2000, 3290, 6400]
    assert size(10, window=3000) == 3000
    assert size(987_000, batch_positions=777) == 777
    assert TrainingConfig(window=50).sized_for(10, form="bidirectional").batch_positions == 6400
