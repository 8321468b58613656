"""Started by torchrun: trainings on ranks, and what collectives give; rank 0 leaves what came out."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from training_cases import Ear, make_training, rows_of_any_size

from grela.errors import RanksError
from grela.training.torchrun import Torchrun, ranks_of_torchrun

SETTINGS = {
    "kernels": {"width": 32},
    "bf16": {"width": 32, "precision": "bf16"},
    "torch": {"kernels": "torch"},
    "carried": {"width": 32, "histories": "carried"},
    "carried by torch": {"histories": "carried", "kernels": "torch"},
    "sampled": {"width": 32, "loss": "sampled_softmax", "negatives": 8},
    "bidirectional": {"width": 32, "form": "bidirectional", "batch_positions": 128},
}


def trained(name: str, folder: Path | None, **more):
    """The training of that name on the ranks given, done, and what it has told."""
    ear = Ear()
    training = make_training(folder, epochs=2, listener=ear, **SETTINGS[name], **more)
    training.run()
    return training, ear


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rows_of_any_size()
    with ranks_of_torchrun("cpu") as ranks:
        for name in SETTINGS:
            training, ear = trained(name, None, ranks=ranks)
            record = [(epoch.loss, dict(epoch.metrics), epoch.best_epoch) for epoch in ear.epochs]
            if ranks.first:
                save_file(training.model.state_dict(), folder / f"{name}.safetensors")
                (folder / f"{name}.json").write_text(json.dumps(record))
        must_collect(ranks)
        must_refuse(ranks)


def must_collect(ranks: Torchrun) -> None:
    """Sums are in the order of the rows, also where a rank has none; whatever is named arrives."""
    for rows, length in ((1, 7), (2, 1), (5, 10)):
        vectors = torch.randn(rows, length, generator=torch.Generator().manual_seed(rows)) * 1e3
        mine = [row for _, row in ranks.mine(vectors)]
        expected = vectors[0].clone()
        for row in vectors[1:]:
            expected += row
        assert torch.equal(ranks.talk.ordered_sum(mine, length, rows), expected)
    rank = ranks.talk.rank
    own = {f"of {rank}": torch.full((rank, 2), rank), f"bits of {rank}": torch.tensor([True])}
    found = ranks.all_tensors(own)
    for other in range(ranks.size):
        assert torch.equal(found[f"of {other}"], torch.full((other, 2), other))
        assert found[f"bits of {other}"].dtype == torch.bool
    values = ranks.all_values({"x": torch.arange(2.0).double().numpy() + rank} if rank != 1 else {})
    assert len(values["x"]) == 2 * (ranks.size - (ranks.size > 1))
    assert ranks.from_first({"rank": rank, "none": None}) == {"rank": 0, "none": None}
    assert ranks.agreed(rank == 0)
    assert not ranks.agreed(rank > 0)


def must_refuse(ranks: Torchrun) -> None:
    """All ranks raise where one differs, and say in what."""
    ranks.must_agree({"x": 1})
    if ranks.size == 1:
        return
    rank = ranks.talk.rank
    with pytest.raises(RanksError, match="x is 1 on rank 1, but 0 on rank 0: start all ranks with the same"):
        ranks.must_agree({"x": rank})
    with pytest.raises(RanksError, match=r"training.seed is 1 on rank 1, but 0 on rank 0"):
        make_training(None, ranks=ranks, seed=min(rank, 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
