import subprocess
from pathlib import Path

import pytest
from benchmark_cases import git
from commits import CommitError, checked_out, resolve, working_tree


@pytest.mark.parametrize("commit", ["no-such-branch", "", "--all", "HEAD; true", "old:file"])
def test_what_names_no_commit_is_refused(repository, commit):
    with pytest.raises(CommitError, match="Give a hash, tag or branch"):
        resolve(commit, repository)


def test_a_tag_and_a_short_hash_name_their_commit(repository):
    expected = git(repository, "rev-parse", "HEAD~1")
    assert resolve("old", repository) == expected
    assert resolve(expected[:9], repository) == expected


class Broken(BaseException):
    """As KeyboardInterrupt, which pytest would take for itself."""


def broken_within(folder: Path, repository: Path) -> None:
    assert (folder / "file").read_text() == "old"
    (folder / "left over").write_text("by a run")
    assert len(git(repository, "worktree", "list").splitlines()) == 2
    raise Broken


def test_a_worktree_holds_the_commits_files_and_goes_whatever_ends_it(repository):
    with pytest.raises(Broken), checked_out(resolve("old", repository), repository) as folder:
        broken_within(folder, repository)
    assert not folder.parent.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert (repository / "file").read_text() == "new"


def test_a_worktree_that_cannot_be_made_leaves_nothing(repository):
    with pytest.raises(CommitError, match="cannot check"), checked_out("0" * 40, repository):
        pass
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_a_changed_library_is_said_to_be_changed(repository):
    head = git(repository, "rev-parse", "HEAD")
    assert working_tree(repository) == (head, False)
    (repository / "src").mkdir()
    (repository / "src" / "module.py").write_text("")
    assert working_tree(repository) == (head, True)


def test_outside_git_there_is_no_commit(tmp_path):
    assert subprocess.run(["git", "-C", str(tmp_path), "rev-parse"], capture_output=True).returncode != 0
    assert working_tree(tmp_path) == (None, False)
