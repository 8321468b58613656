"""`grela export` on the small run; what the graphs compute is tested in tests/export."""

import json

import pytest

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxscript", reason="the extra `export` is not installed")


@pytest.mark.slow
def test_a_run_is_exported_with_its_items(grela, fitted_run, tmp_path):
    done = grela("export", fitted_run, "--out", tmp_path / "graphs")
    assert (done.code, done.err) == (0, "")
    names = ["description.json", "encoder.onnx", "items.json", "scores.onnx", "step.onnx"]
    assert sorted(path.name for path in (tmp_path / "graphs").iterdir()) == names
    assert all(name in done.out for name in names)
    assert json.loads((tmp_path / "graphs" / "items.json").read_text()) == list(range(500, 520))


def test_what_cannot_be_exported_is_said(grela, fitted_run, tmp_path):
    done = grela("export", fitted_run, "--out", fitted_run)
    assert done.code == 1
    assert "is not empty" in done.err
    assert grela("export", tmp_path, "--out", tmp_path / "graphs").code == 1
    assert not (tmp_path / "graphs").exists()
