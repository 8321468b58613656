"""Settings are tried on validation data, the same number for each model, and what is chosen is what is measured."""

import json

import pytest
from comparison_cases import Memory, compared

from grela.comparison import contest
from grela.comparison.budget import Budget
from grela.comparison.contestants import CONTESTANTS, contestant
from grela.comparison.folder import write_trial
from grela.comparison.tuning import DROPOUTS, RATES, best_settings, changed, own_settings
from grela.errors import ConfigError, RunError


def near(best: float):
    """A validation that likes one learning rate, remembering what it was asked."""
    asked = []

    def valid_of(number, changes) -> float:
        asked.append(dict(changes))
        return -abs(changes["learning_rate"] - best)

    return asked, valid_of


@pytest.mark.parametrize("name", ["recgrela", "sasrec"])
def test_the_first_trial_is_of_a_models_own_settings_and_the_best_is_chosen(name):
    asked, valid_of = near(5e-3)
    found = best_settings(contestant(name), 25, valid_of)
    assert asked[0] == pytest.approx(own_settings(contestant(name)))
    assert len(asked) == 25
    assert found == min(asked, key=lambda changes: abs(changes["learning_rate"] - 5e-3))
    assert abs(found["learning_rate"] - 5e-3) < 1e-3
    for changes in asked:
        assert RATES[0] <= changes["learning_rate"] <= RATES[1]
        assert DROPOUTS[0] <= changes["dropout"] <= DROPOUTS[1]


@pytest.mark.parametrize(("name", "rates"), [("recgrela", [3e-3, 1e-2]), ("sasrec", [1e-3, 3e-3, 1e-2])])
def test_the_next_trials_are_of_higher_rates_alone_and_none_is_tried_twice(name, rates):
    asked, valid_of = near(5e-3)
    best_settings(contestant(name), 6, valid_of)
    for changes, rate in zip(asked, rates, strict=False):
        assert changes == pytest.approx(own_settings(contestant(name)) | {"learning_rate": rate})
    assert len({tuple(changes.items()) for changes in asked}) == 6


def test_asked_again_it_tries_the_same():
    (first, of_first), (again, of_again) = near(2e-3), near(2e-3)
    assert best_settings(contestant("sasrec"), 8, of_first) == best_settings(
        contestant("sasrec"), 8, of_again
    )
    assert first == again


def test_trials_that_fail_are_passed_over_and_if_all_do_it_is_said():
    asked, valid_of = near(1e-3)
    found = best_settings(contestant("sasrec"), 4, lambda n, c: None if n % 2 else valid_of(n, c))
    assert found in asked
    with pytest.raises(ConfigError, match="all 4 trials failed"):
        best_settings(contestant("sasrec"), 4, lambda number, changes: None)


def test_settings_reach_shape_and_training_of_both_kinds_of_model():
    changes = {"learning_rate": 0.004, "dropout": 0.37}
    ours, rival = (changed(contestant(name), changes) for name in ("recgrela", "sasrec"))
    assert (ours.config.training.learning_rate, ours.config.model.dropout) == (0.004, 0.37)
    assert (rival.training.learning_rate, rival.shape.dropout) == (0.004, 0.37)
    assert changed(contestant("sasrec"), own_settings(contestant("sasrec"))) == CONTESTANTS["sasrec"]


def test_a_comparison_tries_keeps_and_measures_what_validated_best(tmp_path, monkeypatch):
    out, memory = tmp_path / "out", Memory()
    budget = Budget(epochs=1, trials=3)
    found = compared(out, ["sasrec", "popularity"], budget=budget, watcher=memory)
    begun = [words for word, words in memory.heard if word == "begins"]
    assert begun == [*(f"sasrec, trial {n}" for n in (1, 2, 3)), "sasrec, seed 0", "popularity, seed 0"]
    trials = [json.loads((out / "trials" / f"sasrec-{n}" / "trial.json").read_text()) for n in range(3)]
    best = max(trials, key=lambda trial: trial["valid"])
    (run,) = [run for run in found["runs"] if run["model"] == "sasrec"]
    assert run["tuned"] == best["changes"]
    assert run["settings"]["training"]["learning_rate"] == best["changes"]["learning_rate"]
    assert run["settings"]["model"]["dropout"] == best["changes"]["dropout"]
    # The same seed and settings: what is measured is the model that was validated.
    assert run["valid"] == best["valid"]
    assert not any("filtered" in trial or "unfiltered" in trial for trial in trials)
    monkeypatch.setattr(contest, "_in_its_process", None)
    assert compared(out, ["sasrec", "popularity"], budget=budget)["models"] == found["models"]


def test_a_trial_that_failed_stays_failed_and_the_others_keep_their_settings(tmp_path, monkeypatch):
    out, budget, asked = tmp_path / "out", Budget(epochs=1, trials=4), []

    def pretended(run, task, at, watcher) -> str | None:
        if task["trial"] is None:
            return "not in this test"
        asked.append((task["trial"], task["changes"]))
        if task["trial"] == 1:
            return "no memory"
        write_trial(at, {"changes": task["changes"], "valid": task["changes"]["learning_rate"]})
        return None

    monkeypatch.setattr(contest, "_in_its_process", pretended)
    memory = Memory()
    compared(out, ["sasrec"], budget=budget, watcher=memory)
    assert [number for number, _ in asked] == [0, 1, 2, 3]
    assert ("fails", "sasrec, trial 2: no memory") in memory.heard
    compared(out, ["sasrec"], budget=budget)
    assert len(asked) == 4
    write_trial(out / "trials" / "sasrec-2", {"changes": {"learning_rate": 1.0}, "valid": 0.5})
    with pytest.raises(RunError, match=r"sasrec-2 was of .*is asked for"):
        compared(out, ["sasrec"], budget=budget)
