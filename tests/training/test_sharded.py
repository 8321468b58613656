"""An item table sharded over one and two gloo ranks, against the whole table in one process."""

import json
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharded_script import SETTINGS, SHARDED
from training_cases import make_parts, make_training, rows_of_any_size

from grela import TrainingConfig
from grela.configuration import config_from
from grela.errors import ConfigError
from grela.models.forms import choose_form
from grela.training.losses import configured_negatives
from grela.training.sharded import SUMS
from ranks_cases import torchrun
from reference import naive_sharded

HERE = Path(__file__).parent
NEAR = {"rtol": 2e-4, "atol": 2e-5}  # Adam divides by gradients near 0, which raises rounding

with_torchrec = pytest.mark.skipif(find_spec("torchrec") is None, reason="TorchRec is not installed here")


def on_ranks(ranks: int, what: str, out: Path) -> None:
    done = subprocess.run(
        torchrun(ranks, HERE / "sharded_script.py", what, out), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> Callable[[int], Path]:
    """What so many ranks have left."""

    @cache
    def by(ranks: int) -> Path:
        folder = tmp_path_factory.mktemp(f"{ranks}-ranks")
        on_ranks(ranks, "whole", folder)
        return folder

    return by


@pytest.fixture
def small_rows(monkeypatch):
    rows_of_any_size(monkeypatch.setattr)


@with_torchrec
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", [*SETTINGS])
def test_a_sharded_table_learns_what_a_whole_one_does(left, name, ranks, small_rows):
    settings = {"kernels": "torch"} | SHARDED | SETTINGS[name]
    config, plan, model = make_parts(epochs=2, **settings | {"item_table": "replicated"})
    model.load_state_dict(load_file(left(ranks) / f"{name} at first.safetensors"))
    negatives = configured_negatives(config, plan.sequences, model.config.num_items, torch.device("cpu"))
    form = choose_form(model, config.kernels).block
    weights, sums = naive_sharded.trained(model, plan, config, negatives, form)
    found = load_file(left(ranks) / f"{name}.safetensors")
    torch.testing.assert_close(found.pop(SUMS), sums, **NEAR)
    assert found.keys() == weights.keys()
    for part, expected in weights.items():
        torch.testing.assert_close(
            found[part], expected, **NEAR, msg=lambda text, part=part: f"{part}: {text}"
        )


@with_torchrec
@pytest.mark.parametrize(("first", "then"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_a_checkpoint_goes_on_with_another_number_of_ranks(left, first, then, tmp_path):
    on_ranks(first, "broken", tmp_path)
    on_ranks(then, "resumed", tmp_path)
    found, expected = (
        load_file(path.with_suffix(".safetensors")) for path in (tmp_path / "resumed", left(1) / "carried")
    )
    for part, weights in expected.items():
        torch.testing.assert_close(found[part], weights, **NEAR)
    losses, others = (
        [epoch[0] for epoch in json.loads(path.read_text())]
        for path in (tmp_path / "resumed.json", left(1) / "carried.json")
    )
    assert losses == pytest.approx(others, rel=1e-5)


def test_a_process_by_itself_says_how_to_start_ranks():
    with pytest.raises(ConfigError, match="was not started by torchrun: start it so, one rank will do"):
        make_training(None, **SHARDED)


def test_what_a_sharded_table_cannot_do_is_said_early():
    with pytest.raises(ConfigError, match="loss is 'softmax': take 'sampled_softmax'"):
        TrainingConfig(item_table="sharded")
    with pytest.raises(ConfigError, match="the model is bidirectional: take the causal form"):
        config_from({"training": SHARDED, "model": {"form": "bidirectional"}})


@pytest.mark.skipif(find_spec("torchrec") is not None, reason="TorchRec is installed here")
def test_without_torchrec_it_says_where_to_get_it(tmp_path):
    done = subprocess.run(
        torchrun(1, HERE / "sharded_script.py", "whole", tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert (
        "needs TorchRec, and that cannot be loaded (No module named 'torchrec'): docs/distributed.md"
        in done.stderr
    )
