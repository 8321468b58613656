"""Started by torchrun where there are GPUs: one training by NCCL, whose weights rank 0 leaves."""

import sys
from pathlib import Path

from safetensors.torch import save_file
from training_cases import make_training, rows_of_any_size

from grela.training.torchrun import ranks_of_torchrun


def main(folder: Path) -> None:
    rows_of_any_size()
    with ranks_of_torchrun("cuda") as ranks:
        training = make_training(None, ranks=ranks, device=ranks.device)
        training.run()
        if ranks.first:
            save_file(training.model.state_dict(), folder / "weights.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
