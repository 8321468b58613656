"""One GRELA block: attention and feed-forward, each on a normalised input with a residual around it.

X = X + DropPath(GRELA(LayerNorm(X)))
X = X + FeedForward(LayerNorm(X))
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from grela.nn.attention import Branches, GatedLinearAttention, LayerState
from grela.nn.feed_forward import FeedForward
from grela.ops.dropout import drop_path, keep_mask
from grela.ops.packing import Packing

LAYER_NORM_EPS = 1e-12


class Block(nn.Module):
    """A block of width D; shapes as in `GatedLinearAttention`."""

    def __init__(
        self, width: int, attention: GatedLinearAttention, *, dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.attention_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attention = attention
        self.feed_forward_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.feed_forward = FeedForward(width, dropout=dropout)

    def forward(
        self,
        x: Tensor,
        turns: Tensor,
        segments: Tensor,
        state: LayerState,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, LayerState]:
        """Causal, over whole rows: x [B, T, D] gives [B, T, D] and the state of the last segment."""
        y, state = self.attention(self.attention_norm(x), turns, segments, state)
        return self._join(x, drop_path(y, self.drop_path, segments, rng), rng), state

    def whole(self, x: Tensor, turns: Tensor, present: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Bidirectional, one history a row: x [B, T, D] gives [B, T, D]."""
        y = self.attention.mix(self.attention.whole(self.attention_norm(x), turns, present))
        one_history = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)
        return self._join(x, drop_path(y, self.drop_path, one_history, rng), rng)

    def last(
        self,
        x: Tensor,
        turns: Tensor,
        present: Tensor,
        lengths: Tensor,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """`whole` at each history's last event alone, [B, D]: most of a block's work is at single positions."""
        branches = self.attention.whole(self.attention_norm(x), turns, present)
        last = (torch.arange(len(x), device=x.device), lengths - 1)
        y_B1D = self.attention.mix(Branches(*(branch[last].unsqueeze(1) for branch in branches)))
        one_history = torch.zeros(y_B1D.shape[:2], dtype=torch.int64, device=x.device)
        y_BD = drop_path(y_B1D, self.drop_path, one_history, rng).squeeze(1)
        return self._join(x[last], y_BD, rng)

    def packed(
        self, x: Tensor, turns: Tensor, packing: Packing, rng: torch.Generator | None = None
    ) -> Tensor:
        """`whole` of histories one after the other: x [1, P, D] gives [1, P, D]."""
        y = self.attention.mix(self.attention.packed(self.attention_norm(x), turns, packing))
        if rng is not None:
            y = y * self.kept_paths(packing, rng).index_select(0, packing.segments).unsqueeze(1)
        return self._join(x, y, rng)

    def packed_last(
        self, x: Tensor, turns: Tensor, packing: Packing, rng: torch.Generator | None = None
    ) -> Tensor:
        """`packed` at each history's last event alone, [1, B, D]."""
        y = self.attention.mix(self.attention.packed_last(self.attention_norm(x), turns, packing))
        if rng is not None:
            y = y * self.kept_paths(packing, rng).unsqueeze(1)
        return self._join(x.index_select(1, packing.last), y, rng)

    def kept_paths(self, packing: Packing, rng: torch.Generator) -> Tensor:
        """Drop path's draw for each history, [B]: what the attention's output is multiplied by."""
        return keep_mask(packing.lengths.shape, self.drop_path, rng, self.attention.out.weight.dtype)

    def step(self, x: Tensor, turns: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One event: x [B, D] gives [B, D] and the state after it."""
        y, state = self.attention.step(self.attention_norm(x), turns, state)
        return self._join(x, y, None), state

    def finish(self, x: Tensor, branches: Branches) -> Tensor:
        """The block's output from its input and its attention branches, in evaluation."""
        return self._join(x, self.attention.mix(branches), None)

    def _join(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor:
        x = x + y
        joined: Tensor = x + self.feed_forward(self.feed_forward_norm(x), rng)
        return joined


# What `Block.packed` or `Block.packed_last` computes, by whatever means: block, x, turns, packing, rng.
PackedForm = Callable[[Block, Tensor, Tensor, Packing, torch.Generator | None], Tensor]


class PackedForms(NamedTuple):
    """How all blocks but the last are computed, as `Block.packed`, and how the last, as `Block.packed_last`."""

    every: PackedForm = Block.packed
    last: PackedForm = Block.packed_last


PACKED = PackedForms()

# What `Block.forward` computes, by whatever means: block, x, turns, segments, state, rng.
BlockForm = Callable[
    [Block, Tensor, Tensor, Tensor, LayerState, torch.Generator | None], tuple[Tensor, LayerState]
]
