"""Started by torchrun in test_sharded.py: trainings with a sharded item table; rank 0 leaves what came out.

sharded_script.py whole OUT      trainings from beginning to end
sharded_script.py broken OUT     one that breaks after its fourth step, and leaves a checkpoint
sharded_script.py resumed OUT    the same, resumed from there
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from training_cases import Ear, make_training, rows_of_any_size

from grela.errors import ConfigError
from grela.training.sharded import SUMS, ShardedTraining
from grela.training.sharded_table import ShardedTable
from grela.training.torchrun import Torchrun, ranks_of_torchrun

SHARDED = {"item_table": "sharded", "loss": "sampled_softmax", "negatives": 8}
SETTINGS = {
    "windows": {},
    "carried": {"histories": "carried"},
    "by frequency": {"frequency_power": 0.5},
    "kernels": {"width": 32, "kernels": "auto"},
}


class Break(Exception):
    """Stands for anything that ends a process."""


def made(
    name: str, ranks: Torchrun, folder: Path | None = None, listener: Ear | None = None
) -> ShardedTraining:
    settings = {"kernels": "torch"} | SHARDED | SETTINGS[name]
    return make_training(folder, epochs=2, listener=listener, ranks=ranks, validate=None, **settings)


def leave(training: ShardedTraining, ear: Ear, path: Path) -> None:
    """Weights, sums and the record; all ranks call this."""
    weights = {name: tensor.contiguous() for name, tensor in training.whole().state_dict().items()}
    weights[SUMS] = training.table.gathered(training.table.sums)
    if training.ranks.first:
        save_file(weights, path.with_suffix(".safetensors"))
        record = [(epoch.loss, dict(epoch.metrics), epoch.best_epoch) for epoch in ear.epochs]
        path.with_suffix(".json").write_text(json.dumps(record))


def whole(ranks: Torchrun, out: Path) -> None:
    for name in SETTINGS:
        ear = Ear()
        training = made(name, ranks, listener=ear)
        first = training.whole()
        if ranks.first:
            save_file(first.state_dict(), out / f"{name} at first.safetensors")
        training.run()
        leave(training, ear, out / name)
    must_refuse(ranks)


def must_refuse(ranks: Torchrun) -> None:
    with pytest.raises(ConfigError, match="needs a multiple of 4"):
        ShardedTable(50, 6, ranks.talk)
    if ranks.size > 1:
        with pytest.raises(ConfigError, match="a table of 1 rows cannot be sharded over"):
            ShardedTable(1, 4, ranks.talk)


def broken(ranks: Torchrun, out: Path) -> None:
    def stop(report) -> None:
        if len(ear.steps) == 4:
            raise Break

    ear = Ear(stop)
    try:
        made("carried", ranks, out, ear).run()
    except Break:
        return
    raise AssertionError("nothing broke")


def resumed(ranks: Torchrun, out: Path) -> None:
    ear = Ear()
    training = made("carried", ranks, out, ear)
    training.run()
    assert any("resumed after step" in notice for notice in ear.notices)
    leave(training, ear, out / "resumed")


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows_of_any_size()
    with ranks_of_torchrun("cpu") as ranks:
        {"whole": whole, "broken": broken, "resumed": resumed}[sys.argv[1]](ranks, Path(sys.argv[2]))
