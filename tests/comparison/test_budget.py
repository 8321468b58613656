"""A budget is epochs or seconds, and says how many epochs a model gets."""

import pytest

from grela.comparison import budget as module
from grela.comparison.budget import MOST_EPOCHS, PROBED_STEPS, Budget
from grela.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "expected one of the two"),
        ({"epochs": 3, "seconds": 2.0}, "expected one of the two"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": MOST_EPOCHS + 1}, "expected 1 to"),
        ({"seconds": 0.0}, "seconds is 0.0"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"epochs": 3, "trials": -1}, "trials is -1"),
    ],
)
def test_nonsense_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        Budget(**settings)


def test_epochs_are_given_to_all_and_nothing_is_timed():
    def never() -> None:
        raise AssertionError("a step was taken")

    assert Budget(epochs=7).epochs_of(1_000, never) == 7


@pytest.mark.parametrize(
    ("seconds", "steps", "epochs"), [(60, 30, 4), (60, 31, 3), (1, 1_000, 1), (1e9, 1, MOST_EPOCHS)]
)
def test_seconds_are_divided_by_what_an_epoch_takes(monkeypatch, seconds, steps, epochs):
    """A clock on which a step takes half a second, and the first one a minute."""
    now, taken = [0.0], []

    def step() -> None:
        now[0] += 0.5 if taken else 60.0
        taken.append(now[0])

    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    assert Budget(seconds=seconds).epochs_of(steps, step) == epochs
    assert len(taken) == PROBED_STEPS + 1
