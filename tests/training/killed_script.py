"""Run by test_resume: trains in fp32 and then in bf16 in the folder given, saying each step, until done or killed."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from training_cases import Ear, make_training


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for precision in ("fp32", "bf16"):
        run = folder / precision
        run.mkdir(parents=True, exist_ok=True)
        ear = Ear(lambda report, precision=precision: print(precision, report.epoch, report.step, flush=True))
        training = make_training(run, precision=precision, listener=ear)
        training.run()
        print(*ear.notices, sep="\n", flush=True)
        save_file(training.model.state_dict(), run / "final.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
