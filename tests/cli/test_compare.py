"""`grela compare` and `grela ablate`: what is asked is checked before anything is trained, and results are shown."""

import json

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    for user in range(30):
        start = rng.integers(20)
        lines += [f"u{user},i{(start + k) % 20},{100 * k}" for k in range(rng.integers(5, 12))]
    path = tmp_path_factory.mktemp("log") / "small.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_models_are_measured_and_shown(grela, log, tmp_path):
    done = grela("compare", log, "--models", "popularity", "--epochs", 1, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    value = found["models"][0]["unfiltered"]["ndcg@10"]["mean"]
    assert "popularity" in done.out
    assert f"{value:.4f}".removeprefix("0") in done.out
    assert "popularity, seed 0: begins 1 of 1" in done.err
    assert "report: " in done.out


def test_ablations_are_shown_as_differences_to_the_default(grela, log, tmp_path):
    arguments = ["--only", "1-layers", "--seeds", 1, "--epochs", 1, "--threads", 1, "--out", tmp_path / "out"]
    done = grela("ablate", log, *arguments)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    by_name = {model["model"]: model["unfiltered"]["ndcg@10"]["mean"] for model in found["models"]}
    difference = by_name["recgrela:1-layers"] - by_name["recgrela"]
    (line,) = [line for line in done.out.splitlines() if line.strip().startswith("1-layers")]
    assert f"{difference:+.4f} (" in line
    assert any(line.strip().startswith("default") for line in done.out.splitlines())


@pytest.mark.parametrize(
    ("command", "arguments", "code", "words"),
    [
        ("compare", ["--models", "popularity,sasrek"], 1, "no model 'sasrek' to compare; expected some of"),
        ("compare", ["--models", "recgrela:cake"], 1, "no recipe 'cake'"),
        ("compare", ["--models", "a/../../b"], 1, "no model 'a/../../b'"),
        ("compare", ["--models", ","], 1, "models are none"),
        ("compare", ["--epochs", "0"], 1, "epochs is 0"),
        ("compare", ["--epochs", "2", "--seconds", "3"], 1, "expected one of the two"),
        ("compare", ["--seconds", "nan"], 1, "seconds is nan"),
        ("compare", ["--seeds", "0"], 2, "--seeds"),
        ("compare", ["--device", "tpu"], 2, "--device"),
        pytest.param(
            "ablate",
            ["--device", "cuda"],
            1,
            "this machine has no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here"),
        ),
        ("compare", ["--trials", "-1"], 2, "--trials"),
        ("compare", ["--valid-from", "200"], 1, "needs both valid_from and test_from"),
        ("ablate", ["--only", "without-cake"], 1, "no recipe 'without-cake'"),
        ("ablate", ["--only", ","], 1, "no ablation"),
    ],
)
def test_nonsense_is_refused_and_nothing_is_left_behind(
    grela, log, tmp_path, command, arguments, code, words
):
    done = grela(command, log, *arguments, "--out", tmp_path / "out")
    assert done.code == code
    assert words in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
