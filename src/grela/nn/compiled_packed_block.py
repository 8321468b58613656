"""A bidirectional block by the compiled kernels: what `Block.packed` computes, in one call each way."""

import torch
from torch import Tensor

from grela.nn.attention import LayerState
from grela.nn.block import Block, PackedForms
from grela.nn.compiled_block import Call, computed, product_dtype, shape_of
from grela.ops.linear_attention import AttentionState
from grela.ops.packing import Packing

# B histories, P positions

# Histories are whole: nothing comes before and nothing is carried on.
NO_STATE = LayerState(AttentionState(torch.empty(0), torch.empty(0)), torch.empty(0))


def compiled_packed_block(
    block: Block, x: Tensor, turns: Tensor, packing: Packing, rng: torch.Generator | None = None
) -> Tensor:
    """`Block.packed` on the CPU: arguments and result as there."""
    kept = torch.ones(len(packing.segments))
    if rng is not None:
        kept = block.kept_paths(packing, rng).index_select(0, packing.segments)
    given = Call(
        shape_of(block, x, rng, whole=True),
        torch.view_as_real(turns.contiguous()),
        packing.segments,
        kept,
        NO_STATE,
        NO_STATE,
        product_dtype(),
    )
    return computed(block, x, given)


COMPILED_PACKED = PackedForms(every=compiled_packed_block)
