"""Compiling the C++ kernels with the compiler of this machine, once, into the user's cache folder.

The kernels are optional: they compute what the PyTorch forms compute, faster. The library's name is a digest of the
sources, the flags and everything the compiler says about the processor, so a changed source or another machine
that shares the folder never meets a library that is not its own.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import platformdirs

from grela.errors import KernelError

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-O2", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
COMPILERS = ("c++", "g++", "clang++")
SECONDS = 300


@cache
def load_library() -> ctypes.CDLL:
    """The compiled kernels; compiles them where that was not yet done. Raises KernelError saying why it cannot."""
    path = library_path()
    if not path.exists():
        _compile(find_compiler(), path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelError(f"cannot load the compiled kernels {path}: {error}; delete the file") from error


def library_path() -> Path:
    """Where this machine's kernels are, or will be once compiled; raises KernelError if they cannot be."""
    return cache_folder() / f"kernels-{_digest(find_compiler())}.so"


def waits_for_compiler() -> bool:
    """Whether `load_library` would compile now."""
    try:
        return not library_path().exists()
    except KernelError:
        return False


def find_compiler() -> str:
    """The C++ compiler of the environment variable CXX, else the first of `COMPILERS` there is."""
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else COMPILERS:
        found = shutil.which(name)
        if found:
            return found
    looked_for = wanted or ", ".join(COMPILERS)
    raise KernelError(f"no C++ compiler ({looked_for}) on this machine; install one, such as g++ or clang++")


def cache_folder() -> Path:
    """Where compiled kernels are kept: a folder of this user's that nobody else may write to."""
    folder = Path(platformdirs.user_cache_dir("grela")) / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError as error:
        raise KernelError(f"cannot keep compiled kernels in {folder}: {error.strerror}") from error
    if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o022):
        raise KernelError(
            f"others may write to {folder}, so what lies there is not loaded; make it yours alone (chmod 700)"
        )
    return folder


def _digest(compiler: str) -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in sorted(p for p in SOURCES.iterdir() if p.suffix in (".h", ".cpp")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    # All macros the compiler predefines: its version and the processor's instruction sets are among them.
    digest.update(_run([compiler, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull]))
    return digest.hexdigest()[:24]


def _compile(compiler: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        fresh = Path(scratch) / path.name
        _run([compiler, *FLAGS, "-shared", "-fPIC", str(SOURCES / "kernels.cpp"), "-o", str(fresh)])
        fresh.replace(path)


def _run(command: list[str]) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"{command[0]} did not run: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise KernelError(
            f"{command[0]} could not compile the kernels: {said[0] if said else done.returncode}"
        )
    return done.stdout
