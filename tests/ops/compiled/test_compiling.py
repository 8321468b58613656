"""Kernels are compiled once, kept where nobody else may write, and refused with a reason."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from grela.errors import KernelError
from grela.ops.compiled import build


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setattr(build.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    build.load_library.cache_clear()
    yield tmp_path / "grela" / "kernels"
    build.load_library.cache_clear()


@pytest.mark.usefixtures("kernels")
def test_compiles_once_and_leaves_nothing_else(cache, monkeypatch):
    build.load_library()
    (library,) = cache.iterdir()
    assert library.suffix == ".so"
    build.load_library.cache_clear()
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled again"))
    build.load_library()


@pytest.mark.usefixtures("kernels")
def test_another_source_or_flag_is_another_library(cache, tmp_path, monkeypatch):
    compiler = build.find_compiler()
    names = {build._digest(compiler)}
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-DOTHER"))
    names.add(build._digest(compiler))
    (tmp_path / "kernels.cpp").write_text("// nothing\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    names.add(build._digest(compiler))
    assert len(names) == 3


@pytest.mark.usefixtures("kernels")
def test_a_source_that_does_not_compile_is_said_and_leaves_nothing(cache, tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "kernels.cpp").write_text("this is not C++\n")
    monkeypatch.setattr(build, "SOURCES", sources)
    with pytest.raises(KernelError, match="could not compile"):
        build.load_library()
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("kernels")
def test_a_damaged_library_is_refused_and_named(cache):
    library = build.cache_folder() / f"kernels-{build._digest(build.find_compiler())}.so"
    library.write_bytes(b"not a library")
    with pytest.raises(KernelError, match=library.name):
        build.load_library()


def test_a_folder_that_others_may_write_to_is_refused(cache):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with pytest.raises(KernelError, match="chmod 700"):
        build.cache_folder()


def test_no_compiler_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelError, match="g\\+\\+"):
        build.find_compiler()


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="the instruction sets are x86-64's"
)
@pytest.mark.parametrize("march", ["x86-64-v3", "x86-64"])
def test_equal_on_processors_without_this_ones_instructions(march, tmp_path):
    """The kernels' own tests, in a process whose library is compiled for AVX2 and for SSE2 alone."""
    probe = """
import sys, pytest
from grela.ops.compiled import build
build.FLAGS = tuple(f"-march={sys.argv[1]}" if f == "-march=native" else f for f in build.FLAGS)
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""
    tests = Path(__file__).parents[2]
    laws = [
        tests / "nn" / "test_compiled_block.py",
        tests / "nn" / "test_compiled_packed_block.py",
        tests / "ops" / "compiled" / "test_compiled_softmax.py",
        tests / "serving" / "test_steppers.py",
    ]
    done = subprocess.run(
        [sys.executable, "-c", probe, march, *map(str, laws)],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        cwd=tests.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    (library,) = (tmp_path / "grela" / "kernels").iterdir()
    assert library.suffix == ".so"
