"""Every kernel compiles for GPUs that are not here, as its operation would launch it in training."""

import os

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("nothing compiles in the interpreter", allow_module_level=True)

from triton_compiling import compiling

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.triton_block import triton_block
from grela.ops.linear_attention import empty_state
from grela.ops.triton import attention, features, gated_conv, softmax

H100, A100 = 90, 80
# Shared memory a block may have, in bytes.
SHARED = {H100: 227 * 1024, A100: 163 * 1024}
LENGTH, WIDTH, HEADS = 1600, 64, 4
ATTENTION = ["added_kernel", "carry_kernel", "output_kernel"]
GRAD_ATTENTION = ["grad_added_kernel", "carry_kernel", "grad_inputs_kernel"]


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


def test_attention_in_bfloat16_compiles():
    inputs = [draw(1, LENGTH, HEADS, WIDTH // HEADS, dtype=torch.bfloat16) for _ in range(5)]
    state = empty_state(1, HEADS, WIDTH // HEADS, WIDTH // HEADS, like=inputs[0])
    with compiling(A100, attention) as compiled:
        out, final = attention.triton_attention(*inputs, torch.zeros(1, LENGTH, dtype=torch.int64), state)
        (out.sum() + final.S.sum()).backward()
    assert names_of(compiled, A100) == [*ATTENTION, *GRAD_ATTENTION]


def test_a_block_in_mixed_precision_compiles_as_training_launches_it():
    config = RecGRELAConfig(num_items=9, width=WIDTH, heads=HEADS, layers=1)
    model = RecGRELA(config, rng=torch.Generator().manual_seed(0))
    positions = torch.arange(LENGTH).unsqueeze(0)
    with compiling(H100, attention, gated_conv, features) as compiled, torch.autocast("cpu", torch.bfloat16):
        hidden, _ = model(
            positions % 9, 0 * positions, positions, None, torch.Generator().manual_seed(0), triton_block
        )
        hidden.sum().backward()
    convolution = ["grad_branches_kernel", "grad_past_kernel"]
    assert names_of(compiled, H100) == [
        "features_kernel",
        *ATTENTION,
        "gated_conv_kernel",
        *convolution,
        *GRAD_ATTENTION,
        "grad_features_kernel",
    ]


def test_softmax_compiles():
    with compiling(H100, softmax) as compiled:
        softmax.triton_softmax(
            torch.zeros(512, 3416, dtype=torch.bfloat16), torch.zeros(512, dtype=torch.int64)
        )
    assert names_of(compiled, H100) == ["softmax_kernel"]
