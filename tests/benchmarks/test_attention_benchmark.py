"""The attention benchmark measures what it says, and says so where it cannot."""

import json

import pytest
import torch
from attention import main


def test_both_forms_are_measured_at_each_length(tmp_path, capsys):
    report = tmp_path / "attention.json"
    options = ["--device", "cpu", "--lengths", "8", "16", "--positions", "32", "--repeats", "2"]
    assert main([*options, "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["form"] == "chunked"
    assert [(x["length"], x["rows"]) for x in found["results"]] == [(8, 4), (16, 2)]
    assert all(x["linear_seconds"] > 0 and x["softmax_seconds"] > 0 for x in found["results"])
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_cuda_device_nothing_is_measured(capsys):
    assert main([]) == 2
    assert "no CUDA device here" in capsys.readouterr().err
