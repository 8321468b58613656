"""What all launches share: where kernels can run, block sizes, precision and layout."""

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from grela.errors import ConfigError

DTYPES = (torch.float32, torch.bfloat16)
# Said at every launch: products and sums may be fused (one rounding instead of two); Triton's default will change.
OPTIONS = {"enable_fp_fusion": True}


def why_no_triton(device: torch.device) -> str | None:
    """Why Triton's kernels cannot run on `device`, None if they can; imports no Triton."""
    if device.type != "cuda":
        return f"Triton's kernels are for CUDA devices, and the model is on {device}"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; install grela[gpu]"
    return None


def on_device_of(x: Tensor) -> AbstractContextManager[object]:
    """Launches within go to x's GPU; raises ConfigError where no kernel can run."""
    if x.device.type == "cuda":
        return torch.cuda.device(x.device)
    if x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":
        return nullcontext()
    raise ConfigError(
        f"the tensors are on {x.device}; Triton kernels need a CUDA device (or, to be tested, a CPU and "
        "TRITON_INTERPRET=1): use the eager form there"
    )


def check_dtype(**tensors: Tensor) -> None:
    """Raises ConfigError unless each is float32 or bfloat16."""
    for name, x in tensors.items():
        if x.dtype not in DTYPES:
            raise ConfigError(
                f"{name} is {x.dtype}; Triton kernels take float32 or bfloat16: use the eager form"
            )


def dot_block(width: int) -> int:
    """`width` rounded up to a power of two, at least the 16 that `tl.dot` needs."""
    return max(16, 1 << (width - 1).bit_length())


def product_precision(*tensors: Tensor) -> str:
    """How `tl.dot` forms products: "ieee" float32; TF32 where all are bfloat16, which TF32 holds exactly."""
    return "tf32" if all(x.dtype == torch.bfloat16 for x in tensors) else "ieee"


def in_rows(x: Tensor, *, inner: int) -> Tensor:
    """x as [rows, width], its last `inner` axes as one of stride 1: a view where strides allow it, else a copy.

    Rows may lie further apart than their width; a kernel takes `stride(0)`.
    """
    rows = x.reshape(-1, x.shape[-inner:].numel())
    return rows if rows.stride(1) == 1 else rows.contiguous()
