"""Multi-head softmax attention (Vaswani et al., NeurIPS 2017, arXiv 1706.03762, eq. 1), causal or over all events."""

import torch
from torch import Tensor, nn

from grela.ops.dropout import dropout

# S histories, T time, D width, H heads


class SoftmaxAttention(nn.Module):
    """Projections with biases; dropout on the attention's weights, drawn from the generator of the call."""

    def __init__(self, width: int, *, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.rate, self.causal = heads, dropout, causal
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, keys: Tensor, present: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        """Queries [S, T, D] attend to keys [S, T, D] that are present, bool [S, T]; returns [S, T, D]."""
        q, k, v = self._split(self.query(queries)), self._split(self.key(keys)), self._split(self.value(keys))
        weights_SHTT = attention_weights(q @ k.mT / q.shape[-1] ** 0.5, present, causal=self.causal)
        mixed = dropout(weights_SHTT, self.rate, rng) @ v
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return heads


def attention_weights(logits: Tensor, present: Tensor, *, causal: bool) -> Tensor:
    """The softmax of logits [S, H, T, T] over keys that are present, bool [S, T], and not after the query if causal.

    At padding a query sees the first event too, so that no row is empty.
    """
    T = logits.shape[-1]
    seen = present[:, None, None, :]
    if causal:
        seen = seen & torch.ones(T, T, dtype=torch.bool, device=logits.device).tril()
    weights: Tensor = logits.masked_fill(~seen, -torch.inf).softmax(-1)
    return weights
