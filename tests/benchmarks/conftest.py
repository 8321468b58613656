"""A repository to benchmark commits of."""

from pathlib import Path

import pytest
from benchmark_cases import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of one file: "old", tagged `old`, and "new"."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for content in ("old", "new"):
        (folder / "file").write_text(content)
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "-m", content)
    git(folder, "tag", "old", "HEAD~1")
    return folder
