"""Who does the parts of a job: this process, one part after the other, or an engine on many machines.

Parts share nothing but a folder. One process is the definition: whatever else does the parts must leave the same files.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from grela.errors import DataError

Result = TypeVar("Result")
WORK = ".work-"


class Workers(Protocol):
    """Does parts of a job, and tells how many threads one part may take (None: as many as there are cores).

    A part may be done twice, or be begun, lost and begun again elsewhere, so it has to leave the same behind however
    often it is done: it writes its file under a name of its own and renames it when it is whole (`whole_file`).
    """

    @property
    def threads(self) -> int | None:
        """Threads of one part."""

    def run(self, part: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
        """`part(*a)` for each of `arguments`, results in that order; raises what a part raised."""


class OneProcess:
    """Parts one after the other, here."""

    threads: int | None = None

    def run(self, part: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
        """As `Workers` says."""
        return [part(*one) for one in arguments]


@contextmanager
def whole_file(path: Path, work: Path) -> Iterator[Path]:
    """A new name in the folder `work` to write to, renamed to `path` on the same file system when the block ends well.

    DataError where the disk refuses.
    """
    fresh = work / f"{path.name}.{uuid4().hex}"
    try:
        yield fresh
        os.replace(fresh, path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; make room, or give another folder"
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A new folder in `out` (made if need be) for what parts leave to each other; gone at the end.

    It is renamed before it is deleted: a part that goes on somewhere although it was given up, because its machine only
    seemed dead, finds the folder gone and changes nothing any more. DataError where `out` cannot be made, or holds
    anything but work folders of jobs that were killed.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        strangers = sorted(path.name for path in out.iterdir() if not path.name.startswith(WORK))
        if strangers:
            raise DataError(f"{out} is not empty ({', '.join(strangers[:3])}): give a new folder as --out")
        for left in out.glob(f"{WORK}*"):
            shutil.rmtree(left)
        work = out / f"{WORK}{uuid4().hex}"
        work.mkdir()
    except OSError as error:
        raise DataError(
            f"cannot make the folder {out}: {error.strerror or error}; give another --out"
        ) from error
    try:
        yield work
    finally:
        done = work.with_name(f"{work.name}-done")
        os.replace(work, done)
        shutil.rmtree(done)
