"""The benchmarks of a step and of a state's precision measure what they say."""

import json
import sys

import pytest
import state_precision
import step
from made_up import made_up_model

pytestmark = pytest.mark.usefixtures("kernels")
SMALL = {"num_items": 50, "width": 32, "heads": 2, "layers": 1}


def test_every_way_of_a_step_is_timed_in_turn():
    found = step.speeds(made_up_model(**SMALL), many=3, rounds=1, seconds=1e-4)
    assert {name.rsplit(", ", 1)[-1] for name in found} >= {"torch", "compiled"}
    assert all(microseconds > 0 for microseconds in found.values())


def test_growth_is_measured_at_the_length_it_names(monkeypatch):
    monkeypatch.setattr(step, "LENGTHS", (3, 400))
    found = step.growth(made_up_model(**SMALL), rounds=1, seconds=1e-4)
    assert found[3]["items met"] <= 3
    assert found[400]["items met"] > 40
    assert found[400]["bytes"] - found[3]["bytes"] == 12 * (found[400]["items met"] - found[3]["items met"])


def test_narrow_states_are_held_against_float64(monkeypatch, tmp_path, capsys):
    path = tmp_path / "errors.json"
    monkeypatch.setattr(
        sys, "argv", ["state_precision.py", "--lengths", "300", "--items", "50", "--json", str(path)]
    )
    monkeypatch.setattr("made_up.made_up_model", lambda num_items: made_up_model(**SMALL))
    state_precision.main()
    errors = {row["stored"]: row["state"] for row in json.loads(path.read_text(encoding="utf-8"))}
    assert len(capsys.readouterr().out.splitlines()) == len(errors) == len(state_precision.WAYS)
    assert (
        errors["float32"] < 1e-5 < errors["float16, stored once"] < errors["float16, stored at every event"]
    )
