"""A causal block by Triton kernels: what `Block.forward` computes, in fewer passes over a GPU's memory.

Matrix products, norms and the feed-forward network stay PyTorch's. Nothing here waits for the device, and no
shape depends on what is in a tensor, so that a CUDA graph can hold it. Imports Triton.
"""

import torch
from torch import Tensor

from grela.nn.attention import Branches, GatedLinearAttention, LayerState
from grela.nn.block import Block
from grela.ops.dropout import static_drop_path
from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import AttentionState
from grela.ops.triton.attention import triton_attention
from grela.ops.triton.features import triton_features
from grela.ops.triton.gated_conv import triton_gated_conv

# B rows, T positions of a row, D width, H heads


# Beyond it a program's tiles no longer fit into its registers and shared memory.
WIDEST_HEAD = 64


def unsupported(block: Block) -> str | None:
    """Why the kernels cannot compute this block; None if they can."""
    weight = block.attention.out.weight
    if weight.dtype != torch.float32:
        return f"weights are {weight.dtype}; Triton's kernels know float32"
    if block.attention.decay is not None:
        return "Triton's kernels know no decay of the state"
    head = weight.shape[0] // block.attention.heads
    return (
        None if head <= WIDEST_HEAD else f"a head is {head} wide; Triton's kernels know up to {WIDEST_HEAD}"
    )


def triton_block(
    block: Block,
    x: Tensor,
    turns: Tensor,
    segments: Tensor,
    state: LayerState,
    rng: torch.Generator | None = None,
) -> tuple[Tensor, LayerState]:
    """`Block.forward`, arguments and results as there; weights float32, products in autocast's dtype if it is on.

    Dropout draws as there. Drop path draws T numbers a row instead of one a history: see `static_drop_path`.
    """
    y, state = _attended(block.attention, block.attention_norm(x), turns, segments, state)
    x = x + static_drop_path(y, block.drop_path, segments, rng)
    return x + block.feed_forward(block.feed_forward_norm(x), rng), state


def _attended(
    layer: GatedLinearAttention, x: Tensor, turns: Tensor, segments: Tensor, state: LayerState
) -> tuple[Tensor, LayerState]:
    """`GatedLinearAttention.forward`."""
    value = layer.value(x)
    out_BTHV, after = _causal_sum(layer, value, turns, segments, state.attention)
    attended = out_BTHV.flatten(2)
    if layer.conv is None or layer.gate is None:
        # An ablation: the fused kernel has both, so that what is left is put together from its parts.
        local, tail = layer._local(value, segments, state.tail)
        return layer.mix(Branches(attended, local, layer._gate(x))), LayerState(after, tail)
    assert layer.conv.bias is not None
    taps, bias = layer.conv.weight.squeeze(1), layer.conv.bias
    u, tail = triton_gated_conv(attended, value, layer.gate(x), taps, bias, segments, state.tail)
    y: Tensor = layer.out(u)
    return y, LayerState(after, tail)


def _causal_sum(
    layer: GatedLinearAttention, value: Tensor, turns: Tensor, segments: Tensor, state: AttentionState
) -> tuple[Tensor, AttentionState]:
    """Linear attention [B, T, H, D / H] of the values; features and sums in float32 whatever the products ran in."""
    query_key = layer.query_key(value)
    if layer.rotation:
        features, rotated = triton_features(query_key, turns)
    else:
        features = rotated = positive_features(query_key.float())
    q, k, q_rot, k_rot = (
        half.unflatten(-1, (layer.heads, -1)) for both in (features, rotated) for half in both.chunk(2, -1)
    )
    v = value.unflatten(-1, (layer.heads, -1))
    return triton_attention(q, k, q_rot, k_rot, v, segments, state, eps=layer.eps)
