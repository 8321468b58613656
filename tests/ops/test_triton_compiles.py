"""Every kernel compiles for GPUs that are not here, as its operation would launch it in training."""

import os

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("nothing compiles in the interpreter", allow_module_level=True)

from triton_compiling import compiling

from grela.ops.linear_attention import empty_state
from grela.ops.rotary import rotation
from grela.ops.triton import attention, features, gated_conv, softmax

H100, A100 = 90, 80
# Shared memory a block may have, in bytes.
SHARED = {H100: 227 * 1024, A100: 163 * 1024}
LENGTH, WIDTH, HEADS = 1600, 64, 4


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def draw(*shape, dtype=torch.float32):
    return torch.zeros(*shape, dtype=dtype, requires_grad=True)


def names_of(compiled, capability):
    for kernel in compiled:
        assert kernel.metadata.target.arch == capability
        assert kernel.metadata.shared <= SHARED[capability]
        assert "ptx" in kernel.asm
    return [kernel.metadata.name for kernel in compiled]


@pytest.mark.parametrize(("capability", "dtype"), [(H100, torch.float32), (A100, torch.bfloat16)])
def test_attention_compiles(capability, dtype):
    inputs = [draw(1, LENGTH, HEADS, WIDTH // HEADS, dtype=dtype) for _ in range(5)]
    state = empty_state(1, HEADS, WIDTH // HEADS, WIDTH // HEADS, like=inputs[0])
    with compiling(capability, attention) as compiled:
        out, final = attention.triton_attention(*inputs, torch.zeros(1, LENGTH, dtype=torch.int64), state)
        (out.sum() + final.S.sum()).backward()
    forward = ["added_kernel", "carry_kernel", "output_kernel"]
    assert names_of(compiled, capability) == [
        *forward,
        "grad_added_kernel",
        "carry_kernel",
        "grad_inputs_kernel",
    ]


def test_gated_convolution_compiles():
    attended, value, gate = (
        draw(1, LENGTH, WIDTH, dtype=dtype) for dtype in (torch.float32, torch.bfloat16, torch.bfloat16)
    )
    segments = torch.zeros(1, LENGTH, dtype=torch.int64)
    with compiling(H100, gated_conv) as compiled:
        u, _ = gated_conv.triton_gated_conv(
            attended, value, gate, draw(WIDTH, 4), draw(WIDTH), segments, draw(1, 3, WIDTH)
        )
        u.sum().backward()
    assert names_of(compiled, H100) == ["gated_conv_kernel", "grad_branches_kernel", "grad_past_kernel"]


def test_features_compile():
    x, turns = draw(1, LENGTH, 2 * WIDTH, dtype=torch.bfloat16), rotation(torch.zeros(1, LENGTH), WIDTH)
    with compiling(H100, features) as compiled:
        plain, rotated = features.triton_features(x, turns)
        (plain + rotated).sum().backward()
    assert names_of(compiled, H100) == ["features_kernel", "grad_features_kernel"]


def test_softmax_compiles():
    with compiling(H100, softmax) as compiled:
        softmax.triton_softmax(
            torch.zeros(512, 3416, dtype=torch.bfloat16), torch.zeros(512, dtype=torch.int64)
        )
    assert names_of(compiled, H100) == ["softmax_kernel"]
