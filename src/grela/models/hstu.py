"""HSTU (Zhai et al., ICML 2024, arXiv 2402.17152): gated attention whose weights are a SiLU, not a softmax.

    E_t        = Dropout(sqrt(D) Embedding[item_t] + Position[t])
    U, V, Q, K = SiLU(Norm(X) W)                                             equation 1: pointwise projection
    A_ij       = SiLU(Q_i . K_j + b[i - j] + c[bucket(t_i - t_j)]) / L, j <= i      2: spatial aggregation
    X          = X + Dropout(Norm(A V) * U) W_o + b_o                                3: pointwise transformation
    score(i)   = LayerNorm(X_t) . Embedding[i]

Norm has no parameters, heads share the biases b and c, each layer has its own, and L is the number of positions. The
absolute positions, the residual and the factor 1 / L are those of Meta's code. c is there where the model reads times.

Times: Meta's code takes the time of the *next* event as the query's, t_{i+1} - t_j, so that each position is told
when its target comes. What a recommendation is asked for has no time yet, so that here only differences between
events of the history are read, t_i - t_j. The published figures of HSTU with time, Meta's and RecTools', are of models
that are told.

Meta's experiments score by cosines divided by .05, under a sampled softmax; scores here are products with the item
table as in all models, so that the hidden state is normalised by a LayerNorm.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from grela.models.sequential import Padded, SequentialModel
from grela.nn.init import WEIGHT_STD, XavierLinear, initialise
from grela.ops.dropout import dropout

# S histories, T time, D width, H heads

BUCKETS = 129
LOG_BASE = 0.301
EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class HSTUConfig:
    """Meta's for ML-1M (hstu-sampled-softmax-n128-final.gin); its HSTU-large has 8 layers and 2 heads.

    times: whether the time between events is read
    """

    width: int = 50
    heads: int = 1
    layers: int = 2
    dropout: float = 0.2
    positions: int = 200
    times: bool = False


class HSTU(SequentialModel):
    """The model; reads at most `positions` events."""

    def __init__(self, num_items: int, config: HSTUConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config, self.reads_times = config, config.times
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.positions = _Positions(config.positions, config.width)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.width, eps=EPS)
        self.to_empty(device=rng.device)
        initialise(self, rng)

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The normalised hidden states [S, T, D] of every event; raises ValueError where times are read and missing."""
        items, rate = histories.items, self.config.dropout
        place = torch.arange(items.shape[1], device=items.device)
        x = dropout(self.embedding(items) * self.config.width**0.5 + self.positions(place), rate, rng)
        buckets = None
        if self.config.times:
            if histories.times is None:
                raise ValueError(
                    "the histories have no times, which this model reads: give them, or set times=False"
                )
            buckets = time_buckets(histories.times)
        for block in self.blocks:
            x = block(x, buckets, rng)
        normalised: Tensor = self.norm(x)
        return normalised


class _Block(nn.Module):
    def __init__(self, config: HSTUConfig) -> None:
        super().__init__()
        D, self.heads, self.length, self.rate = config.width, config.heads, config.positions, config.dropout
        self.project = nn.Linear(D, 4 * D, bias=False)  # to U, V, Q, K
        self.position_bias = nn.Parameter(torch.empty(config.positions))
        self.time_bias = nn.Parameter(torch.empty(BUCKETS)) if config.times else None
        self.out = XavierLinear(D, D)  # begins so in Meta's code too

    def start_from(self, rng: torch.Generator) -> None:
        for bias in self.parameters(recurse=False):
            bias.normal_(0, WEIGHT_STD, generator=rng)

    def forward(self, x: Tensor, buckets: Tensor | None, rng: torch.Generator | None) -> Tensor:
        u, *vqk = silu(self.project(_norm(x))).chunk(4, -1)
        v, q, k = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in vqk)
        bias_STT = self._bias(x.shape[1], buckets)
        weights_SHTT = silu(q @ k.mT + bias_STT.unsqueeze(1)).tril() / self.length
        mixed = (weights_SHTT @ v).transpose(1, 2).flatten(2)
        out: Tensor = x + self.out(dropout(_norm(mixed) * u, self.rate, rng))
        return out

    def _bias(self, length: int, buckets: Tensor | None) -> Tensor:
        """What is added for query i and key j, [1, T, T] or with buckets [S, T, T]; where j > i it means nothing."""
        place = torch.arange(length, device=self.position_bias.device)
        # Vectors that are indexed, as an embedding of width 1 takes several times longer backward.
        bias = self.position_bias[(place.unsqueeze(1) - place).clamp(min=0)].unsqueeze(0)
        return bias if self.time_bias is None or buckets is None else bias + self.time_bias[buckets]


class _Positions(nn.Embedding):
    """Begins as in Meta's code, at the size of the items' embeddings."""

    def start_from(self, rng: torch.Generator) -> None:
        self.weight.normal_(0, self.embedding_dim**-0.5, generator=rng)


def time_buckets(times: Tensor) -> Tensor:
    """Buckets 0..BUCKETS - 1 of t_i - t_j, int64 [S, T, T], of times [S, T]: steps of .301 of its natural logarithm.

    Meta's, whose times are in seconds. Up to 1 is bucket 0, and so is a difference of which a time is unknown (NaN).
    """
    apart = times.unsqueeze(2) - times.unsqueeze(1)
    return (apart.nan_to_num(0.0).clamp(min=1).log() / LOG_BASE).long().clamp(max=BUCKETS - 1)


def _norm(x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], eps=EPS)
