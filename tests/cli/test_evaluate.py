"""`grela evaluate`: the contract that other programs read."""

import json

import pytest

from fit_cases import USERS, fitted


def test_json_has_both_views_and_the_fingerprint(grela, fitted_run):
    done = grela("evaluate", fitted_run, "--json")
    result = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert result["filtered"]["ndcg@10"] == fitted().evaluate().filtered["ndcg@10"]
    assert result["unfiltered"]["ndcg@10"] == fitted().evaluate().unfiltered["ndcg@10"]
    assert result["fingerprint"] == fitted().split.fingerprint
    assert result == json.loads((fitted_run / "evaluation.json").read_text())


def test_the_table_shows_both_views_and_the_floor(grela, fitted_run):
    done = grela("evaluate", fitted_run, "--part", "valid")
    assert done.code == 0
    assert done.out.startswith(f"valid: {USERS} users")
    (line,) = (line for line in done.out.splitlines() if line.startswith("ndcg@10"))
    measured = fitted().evaluate("valid")
    assert f"{measured.filtered['ndcg@10']:.4f}" in line
    assert f"{measured.unfiltered['ndcg@10']:.4f}" in line
    assert line.endswith(f"{fitted().evaluate_popularity('valid').filtered['ndcg@10']:.4f}")


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_no_run_is_an_error_on_the_error_stream(grela, tmp_path, more):
    done = grela("evaluate", tmp_path / "nothing", *more)
    assert (done.code, done.out) == (1, "")
    assert "is not a run folder" in done.err


def test_an_unknown_part_is_a_matter_of_usage(grela, fitted_run):
    assert grela("evaluate", fitted_run, "--part", "train").code == 2
