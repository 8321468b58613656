"""The benchmark of lengths: who is measured in which order, who is left out, what is said; and a real process."""

import json
import sys
import time
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch
from bodies import BODIES
from length import main
from length_case import LengthCase, added_memory, measure
from processes import CaseError, answer

MODELS = ["RecGRELA, PyTorch", "softmax attention", "GRU"]
LENGTHS = ["1024", "2048", "4096", "8192"]


class MadeUp:
    """In place of processes: softmax attention takes a second for 1,024 positions and four for twice as many."""

    def __init__(self, fails_from: int = sys.maxsize) -> None:
        self.cases: list[LengthCase] = []
        self.fails_from = fails_from

    def __call__(self, case: LengthCase) -> dict:
        self.cases.append(case)
        if case.model == "GRU" and case.length >= self.fails_from:
            raise CaseError("killed by signal 9: out of memory?")
        times = case.length / 1_024
        whole = times**2 if case.model == "softmax attention" else 1e-2 * times
        seconds = 1e-3 if case.what == "step" else whole
        return {
            "cpu_seconds": seconds,
            "wall_seconds": 1.1 * seconds,
            "first_seconds": 2 * seconds,
            "growth": 1.0 if case.length > case.base else None,
            "peak_bytes": int(1e6 * times),
            "state_bytes": 4_096,
            "others": 0.0,
        }


def arguments(*more: str) -> list[str]:
    return ["--models", *MODELS, "--lengths", *LENGTHS, "--device", "cpu", *more]


def test_models_take_turns_at_each_length_and_each_goes_first_as_often():
    run = MadeUp()
    assert main(arguments("--repeats", "2"), run=run) == 0
    once = len(LENGTHS) * 2 * len(MODELS)
    assert len(run.cases) == 2 * once
    first, second = run.cases[:3], run.cases[once : once + 3]
    assert [case.model for case in first] == MODELS
    assert [case.model for case in second] == MODELS[::-1]
    assert {(case.length, case.what) for case in (*first, *second)} == {(1_024, "pass")}


def test_exponents_verdicts_and_picture_are_written(tmp_path, capsys):
    report, picture = tmp_path / "length.json", tmp_path / "length.svg"
    assert main(arguments("--json", str(report), "--picture", str(picture)), run=MadeUp()) == 0
    saved = json.loads(report.read_text())
    exponents = {(one["model"], one["quantity"]): one["exponent"]["median"] for one in saved["exponents"]}
    time = "forward and backward, processor time of a position"
    assert exponents["softmax attention", time] == pytest.approx(2)
    assert exponents["GRU", time] == pytest.approx(1)
    assert exponents["GRU", "streaming step, processor time of a step"] == pytest.approx(0, abs=1e-12)
    assert [one["within"] for one in saved["verdicts"]] == [True] * 4
    assert all(one["model"] == "RecGRELA, PyTorch" for one in saved["verdicts"])
    printed = capsys.readouterr().out
    assert "| exponent from 1,024 | 1.00 | 2.00 | 1.00 |" in printed
    drawn = ElementTree.fromstring(picture.read_text())
    assert set(MODELS) <= {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}


def test_beyond_the_cap_a_models_longer_lengths_are_left_out_and_the_others_go_on(tmp_path, capsys):
    run, report = MadeUp(), tmp_path / "length.json"
    options = ["--most-seconds", "3", "--repeats", "2", "--json", str(report)]
    assert main(arguments(*options), run=run) == 0
    lengths = {
        model: [c.length for c in run.cases if (c.model, c.what) == (model, "pass")] for model in MODELS
    }
    assert lengths["softmax attention"] == [1_024, 2_048] * 2
    assert lengths["GRU"] == [1_024, 2_048, 4_096, 8_192] * 2
    assert sum(case.what == "step" for case in run.cases) == 2 * len(LENGTHS) * len(MODELS)
    (left_out,) = json.loads(report.read_text())["left_out"]
    assert left_out["why"] == "longer than 2,048: a call took 4 s there, more than 3"
    printed = capsys.readouterr().out
    assert f"left out: cpu, softmax attention, forward and backward, {left_out['why']}" in printed
    assert "| 8,192 | 9.766 | – | 9.766 |" in printed


def test_interrupted_it_keeps_and_draws_what_was_measured(tmp_path, capsys):
    run, report, picture = MadeUp(), tmp_path / "length.json", tmp_path / "length.svg"

    def stopped_at_the_tenth(case: LengthCase) -> dict:
        if len(run.cases) == 9:
            raise KeyboardInterrupt
        return run(case)

    given = arguments("--json", str(report), "--picture", str(picture))
    assert main(given, run=stopped_at_the_tenth) == 130
    assert sum(len(record["repeats"]) for record in json.loads(report.read_text())["records"]) == 9
    assert picture.read_text().startswith("<svg")
    assert "interrupted; files hold what was measured" in capsys.readouterr().err


def test_slow_at_the_longest_length_leaves_nothing_out(tmp_path):
    report = tmp_path / "length.json"
    options = ["--lengths", "1024", "2048", "--most-seconds", "3", "--repeats", "2", "--json", str(report)]
    assert main(arguments(*options), run=MadeUp()) == 0
    saved = json.loads(report.read_text())
    assert saved["left_out"] == []
    assert max(found["wall_seconds"] for record in saved["records"] for found in record["repeats"]) > 3


def test_a_process_that_fails_is_said_and_its_lengths_from_there_are_left_out(tmp_path, capsys):
    run = MadeUp(fails_from=4_096)
    assert main(arguments("--repeats", "2"), run=run) == 0
    assert [c.length for c in run.cases if c.model == "GRU" and c.what == "pass"] == [
        *(1_024, 2_048, 4_096),
        *(1_024, 2_048),
    ]
    said = "left out: cpu, GRU, forward and backward, 4,096 and longer: killed by signal 9: out of memory?"
    assert said in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_that_is_said(capsys):
    assert main(["--device", "cuda"], run=MadeUp()) == 1
    assert "torch finds no CUDA device here" in capsys.readouterr().err
    assert main(arguments("--repeats", "1"), run=MadeUp()) == 0
    assert "no GPU here: the CPU alone was measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "RecGRELA, Triton", "--device", "cpu"], "none of --models is for cpu"),
        (["--json", "no/such/folder/length.json"], "cannot write no/such/folder/length.json"),
    ],
)
def test_what_cannot_be_done_ends_with_a_message_before_anything_is_measured(capsys, options, message):
    run = MadeUp()
    assert main(options, run=run) == 1
    assert message in capsys.readouterr().err
    assert not run.cases


def test_a_real_process_measures_time_and_memory(tmp_path, capsys):
    report = tmp_path / "length.json"
    asked = ["--models", "RecGRELA, PyTorch", "--lengths", "512", "--device", "cpu", "--layers", "1"]
    assert main([*asked, "--repeats", "1", "--seconds", "0.01", "--json", str(report)]) == 0
    passed, step = json.loads(report.read_text())["records"]
    assert (passed["case"]["what"], step["case"]["what"]) == ("pass", "step")
    (run,) = passed["repeats"]
    assert run["cpu_seconds"] > 0
    assert run["wall_seconds"] > 0
    assert run["form"] == "grela.nn.block.Block.forward"
    if run["peak_bytes"] is not None:
        # A block keeps some thirty numbers a channel and position for its gradients.
        assert 10 * 512 * 64 * 4 < run["peak_bytes"] < 300 * 512 * 64 * 4
    (run,) = step["repeats"]
    assert run["state_bytes"] == 4 * (4 * 16 * 16 + 64 + 3 * 64) + 8


@pytest.mark.parametrize(
    ("number", "words"), [(9, ": out of memory?"), (24, ": out of processor time"), (15, "")]
)
def test_a_process_that_was_killed_is_said_to_be(tmp_path, number, words):
    script = tmp_path / "script.py"
    script.write_text(f"import os; os.kill(os.getpid(), {number})")
    with pytest.raises(CaseError) as raised:
        answer(script, [], {})
    assert str(raised.value) == f"killed by signal {number}{words}"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is counted by Linux")
def test_added_memory_is_the_peak_and_not_what_is_left():
    with added_memory(torch.device("cpu")) as found:
        held = torch.ones(4_000_000)
        held = held[:5].clone()
    assert len(held) == 5
    assert 15_000_000 < found[0] < 25_000_000


def test_a_step_is_measured_in_this_process_as_well():
    threads = torch.get_num_threads()
    case = LengthCase(
        "GRU", "step", 9, 9, "cpu", width=8, heads=2, layers=1, threads=1, seconds=0.001, most_seconds=60
    )
    try:
        found, longer = measure(case), measure(replace(case, length=10))
    finally:
        torch.set_num_threads(threads)
    assert 0 < found["cpu_seconds"] < 0.1
    assert found["state_bytes"] == 8 * 4
    assert found["growth"] is None
    assert 0.01 < longer["growth"] < 100


class Slow:
    """A body whose pass takes longer by a power of its length; it has no state and no weights."""

    form = "made up"

    def __init__(self, power: float) -> None:
        self.power = power

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        end = time.process_time() + 2e-5 * x.shape[1] ** self.power
        while time.process_time() < end:
            pass
        return x * 1

    def weights(self) -> list[torch.Tensor]:
        return []


@pytest.mark.parametrize(("power", "growth"), [(1.0, 1.0), (1.5, 2.0)])
def test_growth_is_of_what_a_position_costs(monkeypatch, power, growth):
    monkeypatch.setitem(BODIES, "slow", lambda size, rng: Slow(power))
    case = LengthCase(
        "slow", "pass", 400, 100, "cpu", width=1, heads=1, layers=1, threads=1, seconds=0.1, most_seconds=60
    )
    threads = torch.get_num_threads()
    try:
        found = measure(case)
    finally:
        torch.set_num_threads(threads)
    # What a call costs besides, four times in the shorter's turn, and the clock's grain.
    assert found["growth"] == pytest.approx(growth, rel=0.25)
