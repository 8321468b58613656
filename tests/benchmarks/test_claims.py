"""The claims are measured on a run from its folder, and verdicts say what intervals show and no more."""

import json

import numpy as np
import pytest
from claims import Histories, main
from claims_words import gate_verdict, rank_verdict

from fit_cases import log, small_config
from grela import Recommender
from grela.models.analysis import mixing_ranks


def run(folder, **model):
    """A tiny run of users who come at random times."""
    events, rng = log(users=40, length=18), np.random.default_rng(1)
    gaps = rng.pareto(1.5, len(events)) * 1_000 + 1
    events = events.with_columns(timestamp=1_700_000_000 + np.cumsum(gaps).astype(np.int64))
    fitted = Recommender.fit(events, config=small_config(model=model))
    fitted.save(folder)
    return fitted


def measured(folder, capsys) -> dict:
    report = folder / "claims.json"
    options = ["--histories", "3", "--users", "35", "--threads", "1", "--json", str(report)]
    assert main([str(folder), *options]) == 0, capsys.readouterr().err
    return json.loads(report.read_text())


def test_both_claims_are_measured_on_a_run_beside_an_untrained_model(tmp_path, capsys):
    fitted = run(tmp_path)
    found = measured(tmp_path, capsys)
    rank, gate = found["rank"], found["gate"]
    assert (rank["histories"], rank["positions"], rank["head_width"]) == (3, [17, 17], 4)
    assert [(h["layer"], h["head"]) for h in rank["heads"]] == [(1, 1), (1, 2)]
    for name in ("trained", "untrained"):
        raised = np.subtract(rank[name]["with"], rank[name]["without"])
        np.testing.assert_allclose([one["value"] for one in rank[name]["raised"]], raised, rtol=1e-9)
        assert all(1 <= value <= 17 for value in rank[name]["with"])
    assert rank["trained"]["without"] != rank["untrained"]["without"]

    # Nobody has the 200 events of a full history, so that the longest are taken: here the first of equals.
    histories = Histories(fitted)
    each = [
        [r.without_local for r in mixing_ranks(fitted.model, *histories.items_and_gaps(c))] for c in range(3)
    ]
    assert rank["trained"]["without"] == pytest.approx(np.mean(each, 0), rel=1e-9)

    assert gate["users"] == 35
    assert gate["left_out"] == 5
    groups = gate["groups"]["matched"]
    assert groups["steady"]["users"] == groups["bursty"]["users"] == 10
    assert groups["steady"]["burstiness"] < groups["bursty"]["burstiness"]
    for of in gate["measures"].values():
        for name in ("trained", "untrained"):
            apart = (of[name]["bursty"][0] - of[name]["steady"][0]) / of[name]["spread"][0]
            assert of[name]["difference"][0]["value"] == pytest.approx(apart, rel=1e-9)
        differ = [of[name]["difference"][0]["value"] for name in ("trained", "untrained")]
        assert of["differs_more"][0]["value"] == pytest.approx(differ[0] - differ[1], rel=1e-9)
    printed = capsys.readouterr().out
    for one in (*rank["verdict"], *gate["verdict"]):
        assert one["words"] in printed
    assert "This model reads the gaps themselves" in printed


def test_what_a_model_does_not_have_is_not_measured(tmp_path, capsys):
    run(tmp_path, local_branch=False, gaps=False)
    found = measured(tmp_path, capsys)
    assert "no local branch" in found["rank"]["not_measured"]
    assert list(found["gate"]["measures"]) == ["gate"]
    assert "reads the gaps" not in capsys.readouterr().out


def test_too_few_users_whose_times_tell_anything_are_refused(tmp_path, capsys):
    fitted = Recommender.fit(log(users=12), config=small_config())
    fitted.save(tmp_path)
    assert main([str(tmp_path), "--histories", "1"]) == 1
    assert "12 of 12 test users have more than 10 events" in capsys.readouterr().err


def test_no_run_ends_with_a_message(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("claims.py: ")


def estimate(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def ranks(raised: list[float], more: list[float], without: list[float]) -> dict:
    side = {"without": without, "with": [w + r for w, r in zip(without, raised, strict=True)]}
    return {
        "heads": [{"layer": 1, "head": k + 1} for k in range(len(raised))],
        "positions": [200, 200],
        "head_width": 16,
        "causal": True,
        "trained": side | {"raised": [estimate(r, 1) for r in raised]},
        "untrained": side | {"raised": [estimate(r, 1) for r in raised]},
        "raised_more": [estimate(m, 1) for m in more],
    }


@pytest.mark.parametrize(
    ("raised", "more", "without", "words"),
    [
        ([5, 5], [5, 5], [10, 12], ["yes", "yes", "yes"]),
        ([5, 0.5], [5, -5], [10, 60], ["in part", "in part", "in part"]),
        ([0.5, -5], [0.5, -5], [60, 70], ["no", "no", "no"]),
    ],
)
def test_a_claim_on_ranks_is_borne_out_by_the_heads_whose_intervals_say_so(raised, more, without, words):
    assert [one["borne_out"] for one in rank_verdict(ranks(raised, more, without))] == words


def gates(key: str, trained: list[float], untrained: list[float]) -> dict:
    of = {
        "trained": {"difference": [estimate(v, 0.1) for v in trained]},
        "untrained": {"difference": [estimate(v, 0.1) for v in untrained]},
        "differs_more": [estimate(a - b, 0.1) for a, b in zip(trained, untrained, strict=True)],
    }
    who = {"events_mean": 99.0}
    return {
        "measures": {key: of},
        "groups": {"matched": {"steady": who, "bursty": who}},
        "reads_gaps": False,
    }


@pytest.mark.parametrize(
    ("key", "trained", "untrained", "word"),
    [
        ("local", [0.5, 0.0], [0.0, 0.0], "yes"),
        ("local", [0.5, -0.5], [0.0, 0.0], "in part"),
        ("local", [-0.5, -0.5], [0.0, 0.0], "no"),
        ("local", [0.5, 0.5], [0.5, 0.45], "no"),  # an untrained model has it as well
        ("local", [0.05, 0.05], [-0.5, 0.0], "no"),
        ("gate", [-0.5, 0.5], [0.0, 0.0], "yes"),  # the paper gives no direction
        ("gate", [0.0, 0.05], [0.0, 0.0], "no"),
        ("gate", [-0.5, 0.0], [-0.5, 0.0], "no"),
    ],
)
def test_a_claim_on_bursts_needs_a_difference_beyond_that_of_an_untrained_model(
    key, trained, untrained, word
):
    (verdict,) = gate_verdict(gates(key, trained, untrained))
    assert verdict["borne_out"] == word
