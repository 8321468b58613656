"""Compiles each kernel that an operation launches, for a GPU that need not be there, in place of running it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

# Of a launch, not of the kernel.
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int64: "*i64", torch.int32: "*i32"}


def _signature_and_constants(kernel, args: tuple, options: dict) -> tuple[dict, dict]:
    """As the launcher would type these arguments: an int of 1 is a constant."""
    values = dict(zip(kernel.arg_names, args, strict=False)) | options
    assert values.keys() == set(kernel.arg_names)
    signature, constants = {}, {}
    for parameter in kernel.params:
        value = values[parameter.name]
        if isinstance(value, torch.Tensor):
            signature[parameter.name] = TYPES[value.dtype]
        elif parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name] = "constexpr"
            constants[parameter.name] = value
        else:
            signature[parameter.name] = "i32" if isinstance(value, int) else "fp32"
    return signature, constants


@contextmanager
def compiling(capability: int, *modules: ModuleType) -> Iterator[list]:
    """Within, launches of the modules' `kernels` compile for `capability` and run nothing; yields what they gave."""
    compiled: list = []

    class Compiler:
        def __init__(self, kernel) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            assert all(size >= 1 for size in grid)

            def launch(*args, **options) -> None:
                launch_options = {
                    name: options.pop(name)
                    for name in ("num_warps", "num_stages", "enable_fp_fusion")
                    if name in options
                }
                signature, constants = _signature_and_constants(self.kernel, args, options)
                source = ASTSource(self.kernel, signature, constants)
                target = GPUTarget("cuda", capability, 32)
                compiled.append(triton.compile(source, target=target, options=launch_options))

            return launch

    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "on_device_of", lambda x: nullcontext())
            for name, kernel in vars(module.kernels).items():
                if name.endswith("_kernel"):
                    patch.setattr(module.kernels, name, Compiler(kernel))
        yield compiled
