"""What every model of a comparison may spend, the same for all."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from grela.errors import ConfigError

PROBED_STEPS = 8
MOST_EPOCHS = 1_000


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Passes over the training events, or seconds of training; one of them.

    epochs:  the same number for all models, whatever one costs
    seconds: as many epochs as each model is thought to make in that time, from a few steps that are timed first; at
             least one. Validation is not counted.
    trials:  settings tried for each model on validation data before; see `grela.comparison.tuning`
    """

    epochs: int | None = None
    seconds: float | None = None
    trials: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.seconds is None):
            raise ConfigError(
                f"the budget has epochs {self.epochs} and seconds {self.seconds}, expected one of the two"
            )
        if self.epochs is not None and not 1 <= self.epochs <= MOST_EPOCHS:
            raise ConfigError(f"epochs is {self.epochs}, expected 1 to {MOST_EPOCHS}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ConfigError(f"seconds is {self.seconds}, expected a positive number")
        if self.trials < 0:
            raise ConfigError(f"trials is {self.trials}, expected 0 or more")

    def epochs_of(self, steps_per_epoch: int, take_step: Callable[[], object]) -> int:
        """The epochs of a model whose epoch has so many steps; `take_step` takes one of a copy that is thrown away."""
        if self.epochs is not None:
            return self.epochs
        assert self.seconds is not None
        take_step()  # the first step also loads kernels and touches memory
        before = time.perf_counter()
        for _ in range(PROBED_STEPS):
            take_step()
        seconds_per_step = (time.perf_counter() - before) / PROBED_STEPS
        return min(MOST_EPOCHS, max(1, int(self.seconds / (seconds_per_step * steps_per_epoch))))
