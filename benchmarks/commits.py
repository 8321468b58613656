"""A commit's files beside the working tree, for as long as they are measured."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


class CommitError(Exception):
    """Git does not have what was asked for; says what to do."""


def resolve(commit: str, repository: Path = REPOSITORY) -> str:
    """The full hash of what `commit` names; raises CommitError if it names no commit."""
    found = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", commit + "^{commit}")
    if found.returncode:
        reason = found.stderr.strip() or "git knows no such commit"
        raise CommitError(
            f"cannot measure against {commit!r}: {reason}. Give a hash, tag or branch of {repository}"
        )
    return found.stdout.strip()


def working_tree(repository: Path = REPOSITORY) -> tuple[str | None, bool]:
    """The commit of the working tree, None outside git, and whether its library is changed since."""
    if shutil.which("git") is None:
        return None, False
    head = _git(repository, "rev-parse", "--verify", "--quiet", "HEAD")
    if head.returncode:
        return None, False
    changes = _git(repository, "status", "--porcelain", "--", "src")
    return head.stdout.strip(), bool(changes.stdout.strip())


@contextmanager
def checked_out(commit: str, repository: Path = REPOSITORY) -> Iterator[Path]:
    """A folder with the commit's files, a git worktree, removed at the end whatever ends it."""
    with tempfile.TemporaryDirectory(prefix="grela-benchmark-") as parent:
        folder = Path(parent) / "commit"
        try:
            added = _git(repository, "worktree", "add", "--quiet", "--detach", str(folder), commit)
            if added.returncode:
                raise CommitError(f"cannot check {commit} out into {folder}: {added.stderr.strip()}")
            yield folder
        finally:
            _remove(folder, repository)


def _remove(folder: Path, repository: Path) -> None:
    """Remove the worktree, deaf to a second Ctrl-C until that is done."""
    heard = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        removed = _git(repository, "worktree", "remove", "--force", str(folder))
        listed = _git(repository, "worktree", "list", "--porcelain").stdout.splitlines()
        if f"worktree {folder.resolve()}" in listed:
            raise CommitError(
                f"cannot remove the worktree {folder}: {removed.stderr.strip()}. Remove it with "
                "`git worktree remove --force`"
            )
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(repository), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CommitError("git is not installed here; commits cannot be told apart without it") from error
