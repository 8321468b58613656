"""MovieLens-100K out of a Python package that carries it, for machines that reach only a package index.

The wheel of `recbole` 1.2.1 holds the ratings with their times and the titles. It is downloaded with pip, checked
and read as the zip archive it is; it is never installed and none of its code runs.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from grela.data.sources.archive import unpack
from grela.data.sources.fetch import check
from grela.data.sources.source import RemoteFile, Say
from grela.errors import SourceError

WHEEL = RemoteFile(
    name="recbole-1.2.1-py3-none-any.whl",
    url=None,
    origin="or, instead: pip download --no-deps --only-binary=:all: recbole==1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    size=2_130_151,
    members=(
        ("recbole/dataset_example/ml-100k/ml-100k.item", "ml-100k.item"),
        ("recbole/dataset_example/ml-100k/ml-100k.inter", "ml-100k.inter"),
    ),
)
MEMBER_LIMIT = 10 * 2**20
PIP_TIMEOUT = 300.0  # seconds

BY_HAND = (
    f"pip download --no-deps --only-binary=:all: recbole==1.2.1 on a machine that has pip and a package index, "
    f"and put {WHEEL.name} into the folder"
)


def ml100k_from_wheel(folder: Path, say: Say) -> None:
    """Write `ml-100k.item` and `ml-100k.inter` into `folder`; SourceError if the wheel cannot be had."""
    say("getting MovieLens-100K from the wheel of recbole 1.2.1 with pip (2 MB; it is not installed)")
    with tempfile.TemporaryDirectory(prefix="grela-") as temporary:
        _pip_download(Path(temporary))
        wheel = Path(temporary) / WHEEL.name
        if not wheel.is_file():
            raise SourceError(f"pip downloaded no {WHEEL.name}; instead: {BY_HAND}")
        check(WHEEL, wheel)
        unpack(WHEEL, wheel, folder, limit=MEMBER_LIMIT)


def _pip_download(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), "recbole==1.2.1"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"pip did not finish in {PIP_TIMEOUT:.0f} s; try again, or {BY_HAND}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1] if lines else f"exit status {done.returncode}"
        if "No module named pip" in done.stderr:
            said += " (install it with `python -m ensurepip`)"
        raise SourceError(f"pip cannot download recbole==1.2.1: {said}; or {BY_HAND}")
