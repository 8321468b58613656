"""Freed memory stays with the process, so that the next step does not fault it in again."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from grela.ops.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        blocks = [torch.ones(20_000_000) for _ in range(2)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this Python does not run on glibc")


def faults(*, keep: bool, environment: dict[str, str] | None = None) -> int:
    command = [sys.executable, "-c", SCRIPT, "keep" if keep else "leave"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=120)
    return int(done.stdout)


@glibc
def test_blocks_freed_are_not_faulted_in_again(monkeypatch):
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    assert faults(keep=True) * 10 < faults(keep=False)


def test_what_the_environment_says_is_left_alone(monkeypatch):
    from grela.ops.memory import keep_freed_memory

    keep_freed_memory.cache_clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    assert not keep_freed_memory()
    keep_freed_memory.cache_clear()
