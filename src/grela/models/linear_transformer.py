"""A Transformer of plain causal linear attention (Katharopoulos et al., ICML 2020, arXiv 2006.16236).

    X_t = Dropout(Embedding[item_t] + Position[t])
    X   = X + Dropout(A(LayerNorm(X)) W_o);   A_t = sum_{s<=t} (f(q_t) . f(k_s)) v_s / sum_{s<=t} f(q_t) . f(k_s)
    X   = X + FeedForward(LayerNorm(X))
    score = LayerNorm(X_t) . Embedding[i]

with f(x) = elu(x) + 1 (eq. 7) and causal sums per head (eq. 9): RecGRELA without what RecGRELA adds to linear
attention, rotation, local branch and gate, and with learned positions instead, counted from a window's first event.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grela.models.sequential import Padded, SequentialModel
from grela.nn.feed_forward import FeedForward
from grela.nn.init import initialise
from grela.ops.dropout import dropout
from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import chunked, empty_state

# S histories, T time, D width, H heads, K = D/H width of a head

LAYER_NORM_EPS = 1e-12


@dataclass(frozen=True, kw_only=True)
class LinearTransformerConfig:
    """RecGRELA's for ML-1M (arXiv 2506.13315), dropout its default here: the paper of this one recommends nothing."""

    width: int = 64
    heads: int = 4
    layers: int = 4
    dropout: float = 0.2
    positions: int = 200


class LinearTransformer(SequentialModel):
    """The model; reads at most `positions` events."""

    def __init__(self, num_items: int, config: LinearTransformerConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.positions = nn.Embedding(config.positions, config.width)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.to_empty(device=rng.device)
        initialise(self, rng)

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The normalised hidden states [S, T, D] of every event."""
        items = histories.items
        place = torch.arange(items.shape[1], device=items.device)
        x = dropout(self.embedding(items) + self.positions(place), self.config.dropout, rng)
        for block in self.blocks:
            x = block(x, rng)
        normalised: Tensor = self.norm(x)
        return normalised


class _Block(nn.Module):
    def __init__(self, config: LinearTransformerConfig) -> None:
        super().__init__()
        self.rate = config.dropout
        self.attention_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.attention = CausalLinearAttention(config.width, heads=config.heads)
        self.feed_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.feed_forward = FeedForward(config.width, dropout=config.dropout)

    def forward(self, x: Tensor, rng: torch.Generator | None) -> Tensor:
        x = x + dropout(self.attention(self.attention_norm(x)), self.rate, rng)
        fed: Tensor = x + self.feed_forward(self.feed_norm(x), rng)
        return fed


class CausalLinearAttention(nn.Module):
    """Multi-head, linear in T. Padding lies on the right, so no event that is there ever attends to it."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [S, T, D] gives [S, T, D]."""
        q, k = positive_features(self._split(self.query(x))), positive_features(self._split(self.key(x)))
        v = self._split(self.value(x))
        one_history = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)
        state = empty_state(len(x), self.heads, q.shape[-1], v.shape[-1], like=v)
        with torch.autocast(x.device.type, enabled=False):
            mixed, _ = chunked(q, k, q, k, v, one_history, state)
        out: Tensor = self.out(mixed.flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        # The sums and the division stay in float32 whatever the projections ran in.
        heads: Tensor = x.to(self.out.weight.dtype).unflatten(-1, (self.heads, -1))
        return heads
