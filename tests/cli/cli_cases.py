"""What the tests of the command line share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

TITLES = 'item_id,title\n500,Five hundred\n503,"Müller, Lüdenscheid"\n'

SETTINGS = """
[model]
width = 8
heads = 2
layers = 1

[training]
epochs = 2
batch_positions = 128
window = 16
warmup_steps = 2
precision = "fp32"
"""


def command(*arguments: object, **popen: object) -> subprocess.Popen:
    """`python -m grela` in a process of its own, on one thread; an interrupt reaches it as from a terminal."""
    # A test run in the background may ignore SIGINT, and what it starts would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "grela", *map(str, arguments)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
            | popen,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of every file."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}
