"""The devices that laws of tensors are checked on; CUDA is skipped visibly where there is none."""

import pytest
import torch

from grela.errors import KernelError
from grela.ops.compiled.build import load_library

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
