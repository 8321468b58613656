"""One run of a comparison, in a process of its own: a model that fails takes no other along, and memory is its own.

    python -m grela.comparison.worker FOLDER MODEL SEED THREADS

Tells its progress in JSON lines on the output stream, and leaves what it found in the run's folder.
"""

import sys
from pathlib import Path

import torch

from grela.comparison.contestants import contestant
from grela.comparison.folder import read_settings, read_split, run_path, write_result
from grela.comparison.measuring import measured
from grela.training.json_lines import JsonLines


def main(folder: Path, name: str, seed: int, threads: int) -> None:
    """Measure one model with one seed."""
    torch.set_num_threads(threads)
    settings = read_settings(folder)
    split = read_split(folder, settings)
    at = run_path(folder, name, seed)
    found = measured(
        contestant(name), split, settings.budget, seed=seed, folder=at, listener=JsonLines(sys.stdout)
    )
    write_result(at, {"model": name, "seed": seed, **found.record}, found.evaluation)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
