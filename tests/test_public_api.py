"""The public surface is this list, and importing it costs nothing."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import grela

PUBLIC = [
    "Config",
    "Evaluation",
    "Events",
    "GrelaError",
    "NewItem",
    "Preparation",
    "RecGRELA",
    "RecGRELAConfig",
    "Recommendation",
    "Recommended",
    "Recommender",
    "Scorer",
    "SplitConfig",
    "TrainingConfig",
    "__version__",
    "compare",
    "evaluate",
    "read_config",
    "read_events",
]
ROOT = Path(__file__).parents[1]


def test_the_public_names_are_these():
    assert sorted(grela.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name):
    found = getattr(grela, name)
    assert name == "__version__" or found.__doc__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'grela' has no attribute 'fit_all'"):
        _ = grela.fit_all


def imported_by(statement: str) -> set[str]:
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_the_library_imports_nothing_heavy():
    assert not imported_by("import grela") & {
        *("torch", "duckdb", "click", "rich", "numpy", "pyarrow", "pandas", "polars", "safetensors", "jinja2")
    }


def test_the_help_of_the_command_line_imports_no_torch():
    assert "torch" not in imported_by(
        "import grela.cli.main as m, io, contextlib as c\n"
        "with c.redirect_stdout(io.StringIO()): m.run(['fit', '--help'])"
    )


def test_data_and_evaluation_import_no_torch():
    statement = "import grela; grela.read_events, grela.evaluate, grela.compare, grela.Preparation"
    found = imported_by(statement)
    assert "grela.evaluation.evaluate" in found
    assert "torch" not in found


def test_the_version_is_the_top_entry_of_the_changelog_and_of_the_package():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (newest, *_) = re.findall(r"^## \[?(\d+\.\d+\.\d+[^\s\]]*)", changelog, flags=re.MULTILINE)
    assert newest == grela.__version__
    assert importlib.metadata.version("grela") == grela.__version__
