"""Devices, kernels and servers that tests need; where there is none they skip, saying so."""

from collections.abc import Iterator

import pytest
import torch

from grela.errors import KernelError
from grela.ops.compiled.build import load_library
from redis_cases import running_server, server_program

# Tensors in tests are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)


@pytest.fixture(
    scope="session",
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
        ),
    ],
)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(scope="session")
def kernels() -> None:
    """Skips, saying why, where the compiled kernels cannot be had."""
    try:
        load_library()
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory) -> Iterator[str]:
    """A durable server for this session."""
    pytest.importorskip("redis", reason="redis-py is not installed: pip install 'grela[redis]'")
    if server_program() is None:
        pytest.skip("no valkey-server or redis-server on this machine")
    with running_server(tmp_path_factory.mktemp("server")) as url:
        yield url
