"""How tests start ranks."""

import sys


def torchrun(ranks: int, *command: object, restarts: int = 0) -> list[str]:
    """torchrun's command line for a script, or for "-m", "--", a module and its arguments."""
    options = ["--standalone", "--nproc-per-node", ranks, "--max-restarts", restarts]
    return [sys.executable, "-m", "torch.distributed.run", *map(str, (*options, *command))]
