"""A saved run that tests of server processes copy or read."""

from pathlib import Path

import pytest

from fit_cases import fitted


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory) -> Path:
    """The small run on disk; tests only read it."""
    folder = tmp_path_factory.mktemp("live") / "run"
    fitted().save(folder)
    return folder
