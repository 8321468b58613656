"""Tensors are written so that the format's own library reads the same bits, and the digest is the file's."""

import hashlib
import tracemalloc

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from grela.models import tensors as module
from grela.models.tensors import write_tensors


def some() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    wide = torch.randn(4, 6, generator=rng)
    return {
        "b.weight": wide,
        "a transposed": wide.T,
        "part of another": wide[1:3, ::2],
        "a scalar": torch.tensor(7.0),
        "nothing": torch.empty(0, 3),
        "ü": torch.arange(5),
        "double": wide.double(),
        "half": wide.half(),
        "brain": wide[0].bfloat16(),
        "int32": torch.arange(3, dtype=torch.int32),
        "bytes": torch.arange(3, dtype=torch.uint8),
        "flags": torch.tensor([True, False, True]),
        "a parameter": torch.nn.Parameter(wide),
    }


@pytest.mark.parametrize("chunk", [16, 1 << 26])
def test_the_formats_own_library_reads_the_same_bits(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    digest = write_tensors(tmp_path / "x", some(), {"progress": '{"a": "ü"}', "more": "1"})
    found = load_file(tmp_path / "x")
    assert found.keys() == some().keys()
    for name, expected in some().items():
        assert found[name].dtype == expected.dtype
        assert torch.equal(found[name], expected), name
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert file.metadata() == {"progress": '{"a": "ü"}', "more": "1"}
    assert digest == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()


def test_without_metadata_there_is_none(tmp_path):
    write_tensors(tmp_path / "x", some(), {})
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert not file.metadata()


def test_writing_holds_no_copy(tmp_path):
    table = {"table": torch.zeros(2_000_000)}
    tracemalloc.start()
    write_tensors(tmp_path / "x", table, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "x").stat().st_size > 8_000_000
    assert peak < 500_000
