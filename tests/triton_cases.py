"""Where Triton kernels are proven: on a CUDA device, or on a CPU in Triton's interpreter; and how near is equal.

The interpreter is chosen by TRITON_INTERPRET=1 before Triton's first import, which a process that has imported
it already cannot take back: tests/ops/test_triton_in_interpreter.py runs these laws in a process of its own.
"""

import os

import pytest
import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(
            "cpu",
            marks=pytest.mark.skipif(
                not INTERPRETED, reason="in a process of its own: test_triton_in_interpreter.py"
            ),
        ),
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                INTERPRETED or not torch.cuda.is_available(), reason="no CUDA device for Triton kernels here"
            ),
        ),
    ],
)
def kernel_device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def assert_errs_no_more(
    fast: dict[str, Tensor], same: dict[str, Tensor], exact: dict[str, Tensor], *, tolerance: float
) -> None:
    """Every entry as near to `exact` as `same`, naive in the same precision, is; to `tolerance` of its size.

    Largest and root mean square error, so that neither one wild value nor a drift of all can hide.
    """
    assert fast.keys() == same.keys() == exact.keys()
    for name, x in exact.items():
        assert fast[name].shape == x.shape, name
        ours, theirs = (y[name].double().cpu() - x.cpu() for y in (fast, same))
        x = x.cpu()
        if x.numel() == 0:
            continue
        for size in (lambda e: e.abs().max().item(), lambda e: e.square().mean().sqrt().item()):
            scale = max(size(x), 1e-3)
            assert size(ours) <= size(theirs) + tolerance * scale, (
                f"{name}: off by {size(ours):.2e}, naive by {size(theirs):.2e}, of {size(x):.2e}"
            )
