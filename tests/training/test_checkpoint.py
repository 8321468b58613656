"""A checkpoint comes back bit for bit, or its damage is noticed and the one before is taken."""

import ast
import os
from pathlib import Path

import pytest
import torch

import grela
from grela.errors import CheckpointError
from grela.training import checkpoint as module
from grela.training.checkpoint import (
    CURRENT,
    PREVIOUS,
    Checkpoint,
    read_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)

try:
    import resource
except ImportError:
    resource = None


def numbered(n: int) -> Checkpoint:
    rng = torch.Generator().manual_seed(n)
    tensors = {
        "a": torch.randn(3, 50, generator=rng),
        "b": torch.randn(7, generator=rng).bfloat16(),
        "scalar": torch.tensor(float(n)),
        "nothing": torch.zeros(0, 4),
        "turned": torch.randn(4, 5, generator=rng).T,
    }
    return Checkpoint(tensors, {"step": n, "best": float("-inf"), "loss": 0.1 + n, "epochs": [{"x": 1 / 3}]})


def assert_is(found: Checkpoint | None, n: int) -> None:
    expected = numbered(n)
    assert found is not None
    assert dict(found.progress) == dict(expected.progress)
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def test_round_trip_is_bit_identical(tmp_path):
    write_checkpoint(numbered(1), tmp_path)
    found, notices = read_checkpoint(tmp_path)
    assert_is(found, 1)
    assert notices == []


def test_an_empty_folder_has_no_checkpoint_and_nothing_to_say(tmp_path):
    assert read_checkpoint(tmp_path) == (None, [])


def test_the_one_before_is_kept_and_no_third(tmp_path):
    for n in (1, 2, 3):
        write_checkpoint(numbered(n), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([CURRENT, PREVIOUS])
    (tmp_path / CURRENT).unlink()  # as if killed between the two renames
    assert_is(read_checkpoint(tmp_path)[0], 2)
    remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "header only": lambda content: content[:100],
    "half": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[:-64] + bytes(64),
    "garbage": lambda content: bytes(range(256)) * (len(content) // 256),
    "text": lambda content: b"not a checkpoint",
    "flipped bit in a tensor": lambda content: flipped(content, len(content) - 40),
    "changed progress": lambda content: content.replace(b'\\"step\\": 2', b'\\"step\\": 3'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    write_checkpoint(numbered(1), tmp_path)
    write_checkpoint(numbered(2), tmp_path)
    whole = (tmp_path / CURRENT).read_bytes()
    broken = DAMAGES[damage](whole)
    assert broken != whole
    (tmp_path / CURRENT).write_bytes(broken)
    found, notices = read_checkpoint(tmp_path)
    assert_is(found, 1)
    assert len(notices) == 1
    assert str(tmp_path / CURRENT) in notices[0]
    assert "is damaged" in notices[0]
    assert "are lost" in notices[0]


def test_without_any_whole_checkpoint_it_stops_and_says_what_to_do(tmp_path):
    for name in (CURRENT, PREVIOUS):
        (tmp_path / name).write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="No whole checkpoint is left: remove") as caught:
        read_checkpoint(tmp_path)
    assert CURRENT in str(caught.value)
    assert PREVIOUS in str(caught.value)


def assert_failed_write_leaves_the_last_whole(folder: Path, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        write_checkpoint(numbered(3), folder)
    assert "make room and run the same command again" in str(caught.value)
    found, notices = read_checkpoint(folder)
    assert_is(found, 2)
    assert notices == []
    assert sorted(p.name for p in folder.iterdir()) == sorted([CURRENT, PREVIOUS])


@pytest.fixture
def two_written(tmp_path):
    write_checkpoint(numbered(1), tmp_path)
    write_checkpoint(numbered(2), tmp_path)
    return tmp_path


def test_a_failing_write_leaves_the_last_checkpoint_whole(two_written, monkeypatch):
    def full(path, tensors, metadata):
        path.write_bytes(bytes(50))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_tensors", full)
    assert_failed_write_leaves_the_last_whole(two_written, "No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_leaves_the_last_checkpoint_whole(two_written):
    """The kernel's own ENOSPC, at the real write."""
    (two_written / (CURRENT + ".part")).symlink_to("/dev/full")
    assert_failed_write_leaves_the_last_whole(two_written, "No space left on device")


@pytest.mark.skipif(resource is None, reason="no limits on file size here")
def test_a_write_cut_short_leaves_the_last_checkpoint_whole(two_written):
    """The kernel stops the file amid its bytes, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(CheckpointError, match="File too large"):
            write_checkpoint(numbered(3), two_written)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_is(read_checkpoint(two_written)[0], 2)
    assert not (two_written / (CURRENT + ".part")).exists()


def test_a_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        write_checkpoint(numbered(1), tmp_path / "nowhere")


def test_nothing_is_pickled():
    """Nothing in the package calls a pickler, and torch.load, if anywhere, loads weights only."""
    sources = sorted(Path(grela.__file__).parent.rglob("*.py"))
    assert len(sources) > 20
    for source in sources:
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call):
                called = ast.unparse(call.func)
                assert called != "torch.save", source
                assert called.split(".")[0] not in {"pickle", "cloudpickle", "dill", "joblib"}, source
                if called == "torch.load":
                    assert "weights_only=True" in [ast.unparse(word) for word in call.keywords], source


def test_reading_does_not_hold_the_file_against_its_removal(tmp_path):
    write_checkpoint(numbered(1), tmp_path)
    found, _ = read_checkpoint(tmp_path)
    os.remove(tmp_path / CURRENT)
    assert_is(found, 1)
