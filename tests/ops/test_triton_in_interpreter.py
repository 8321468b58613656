"""Runs the laws of Triton's kernels in its CPU interpreter, in a process of its own: see triton_cases.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

TESTS = Path(__file__).parents[1]
LAWS = sorted(
    str(path)
    for path in TESTS.glob("*/test_triton_*.py")
    if path.stem not in ("test_triton_in_interpreter", "test_triton_compiles")
)


@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="this is the process of its own")
def test_laws_hold_in_the_interpreter():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *LAWS],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed, run.stdout
    assert int(passed[1]) > 40
