"""Settings tried on validation data before a model is compared: the same number for each, chosen by Optuna.

Optuna (Akiba et al., KDD 2019) with its tree-structured Parzen estimator. The first trial is of the settings that the
model comes with, so that tuning departs from them only where validation says so. The next ones change the rate alone:
papers' rates are for hundreds of epochs, and a short budget wants higher ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from grela.comparison.contestants import Ours, Rival
from grela.errors import ConfigError

RATES = (3e-4, 1e-2)
FIRST_RATES = (3e-3, 1e-2)
DROPOUTS = (0.0, 0.5)
Changes = Mapping[str, float]


def best_settings(
    contestant: Ours | Rival, trials: int, valid_of: Callable[[int, Changes], float | None]
) -> dict[str, float]:
    """The settings of the trial with the highest validation figure; `valid_of` gives a trial's, None where it failed.

    Learning rate (on a logarithmic scale) and dropout, where the model has one. What is tried follows from
    what earlier trials gave and from nothing else, so that asking again repeats it. Raises ConfigError where Optuna is
    missing, or where every trial failed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "tuning needs Optuna: `pip install 'grela[compare]'`, or compare without --trials"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    own = own_settings(contestant)
    for rate in dict.fromkeys((own["learning_rate"], *FIRST_RATES)):
        study.enqueue_trial(own | {"learning_rate": rate})
    for number in range(trials):
        trial = study.ask()
        changes = {"learning_rate": trial.suggest_float("learning_rate", *RATES, log=True)}
        if "dropout" in own:
            changes["dropout"] = trial.suggest_float("dropout", *DROPOUTS)
        value = valid_of(number, changes)
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        study.tell(trial, value, state=state)
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise ConfigError(f"all {trials} trials failed; see their logs")
    return dict(study.best_params)


def own_settings(contestant: Ours | Rival) -> dict[str, float]:
    """What a contestant comes with, of the settings that are tuned."""
    if isinstance(contestant, Ours):
        shape, training = contestant.config.model, contestant.config.training
    else:
        shape, training = contestant.shape, contestant.training
    own = {"learning_rate": training.learning_rate}
    return own | ({"dropout": shape.dropout} if _drops(shape) else {})


def changed(contestant: Ours | Rival, changes: Changes) -> Ours | Rival:
    """The contestant with other settings."""
    of_training: dict[str, Any] = {n: value for n, value in changes.items() if n == "learning_rate"}
    of_shape: dict[str, Any] = {n: value for n, value in changes.items() if n == "dropout"}
    if isinstance(contestant, Ours):
        model = replace(contestant.config.model, **of_shape)
        training = replace(contestant.config.training, **of_training)
        return replace(contestant, config=replace(contestant.config, model=model, training=training))
    return replace(
        contestant,
        shape=replace(contestant.shape, **of_shape),
        training=replace(contestant.training, **of_training),
    )


def _drops(shape: object) -> bool:
    return "dropout" in {field.name for field in fields(shape)}  # type: ignore[arg-type]
