"""Benchmarks are scripts; their neighbours are imported as they import each other."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of one file: "old", tagged `old`, and "new"."""
    from benchmark_cases import git  # it imports benchmarks, which the line above has made possible

    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for content in ("old", "new"):
        (folder / "file").write_text(content)
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "-m", content)
    git(folder, "tag", "old", "HEAD~1")
    return folder
