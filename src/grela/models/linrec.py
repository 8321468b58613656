"""LinRec (Liu et al., SIGIR 2023, arXiv 2411.01537): a Transformer of L2-normalised linear attention over all events.

    E_t = Dropout(LayerNorm(Embedding[item_t] + Position[t]))
    X   = LayerNorm(X + Dropout(A(X) W_o));   A = rho_1(elu(Q)) (rho_2(elu(K))^T V)          per head, K wide
    X   = LayerNorm(X + Dropout(FeedForward(X)))
    score = X_t . Embedding[i]

rho_1 divides a query by sqrt(K) times its norm, rho_2 each channel of the keys by sqrt(N) times its norm over the N
events: products sum to at most 1 without a softmax. A channel's norm takes in the whole history, so the model is
bidirectional and learns one sample a prefix, at its last event.

The authors' code, layers for RecBole whose SASRec is the rest of the model, has it otherwise: keys are divided by
their own norm too, products by sqrt(K) once more, and the mask is ignored, so that padding is attended to. Here the
paper's equation holds, and padding takes no part.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, gelu, normalize

from grela.models.sequential import Examples, Padded, Reads, SequentialModel, Windows
from grela.nn.init import initialise
from grela.ops.dropout import dropout

# S histories, T time, A events asked for, D width, H heads, K = D/H width of a head, N events of a history

LAYER_NORM_EPS = 1e-12


@dataclass(frozen=True, kw_only=True)
class LinRecConfig:
    """The authors' for ML-1M (run.py and ml-1m.yaml of github.com/Applied-Machine-Learning-Lab/LinRec)."""

    width: int = 128
    heads: int = 8
    layers: int = 2
    inner: int = 256
    dropout: float = 0.2
    positions: int = 200


class LinRec(SequentialModel):
    """The model; reads at most `positions` events, counted from a window's first."""

    reads: Reads = "prefixes"

    def __init__(self, num_items: int, config: LinRecConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.positions = nn.Embedding(config.positions, config.width)
            self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.to_empty(device=rng.device)
        initialise(self, rng)

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The hidden states [S, T, D] of every event, each by the whole history."""
        x = self._before_last_block(histories, rng)
        every: Tensor = self.blocks[-1](x, x, histories, rng)
        return every

    def learn(self, windows: Windows, rng: torch.Generator) -> Examples:
        """What a row of prefixes teaches: the item that follows each."""
        return Examples(self._at_last(windows.histories, rng), windows.targets, windows.seen)

    def last_hidden(self, histories: Padded) -> Tensor:
        """`hidden` at each history's last event, [S, D]; nothing is dropped."""
        return self._at_last(histories, None)

    def _at_last(self, histories: Padded, rng: torch.Generator | None) -> Tensor:
        # The last block is asked for single events: keys and values are all that it needs of the others.
        x = self._before_last_block(histories, rng)
        last = x[torch.arange(len(x), device=x.device), histories.lengths - 1].unsqueeze(1)
        found: Tensor = self.blocks[-1](last, x, histories, rng).squeeze(1)
        return found

    def _before_last_block(self, histories: Padded, rng: torch.Generator | None) -> Tensor:
        items = histories.items
        place = torch.arange(items.shape[1], device=items.device)
        x = dropout(self.norm(self.embedding(items) + self.positions(place)), self.config.dropout, rng)
        for block in self.blocks[:-1]:
            x = block(x, x, histories, rng)
        return x


class _Block(nn.Module):
    def __init__(self, config: LinRecConfig) -> None:
        super().__init__()
        self.rate = config.dropout
        self.attention = L2NormalisedAttention(config.width, heads=config.heads)
        self.attention_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.up, self.down = nn.Linear(config.width, config.inner), nn.Linear(config.inner, config.width)
        self.feed_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)

    def forward(self, asked: Tensor, x: Tensor, histories: Padded, rng: torch.Generator | None) -> Tensor:
        """The block's output [S, A, D] for those of its inputs x [S, T, D] that are asked for, [S, A, D]."""
        mixed = self.attention(asked, x, histories)
        asked = self.attention_norm(asked + dropout(mixed, self.rate, rng))
        fed = dropout(self.down(gelu(self.up(asked))), self.rate, rng)
        normalised: Tensor = self.feed_norm(asked + fed)
        return normalised


class L2NormalisedAttention(nn.Module):
    """LinRec's attention, linear in T: keys and values are multiplied first."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, asked: Tensor, x: Tensor, histories: Padded) -> Tensor:
        """Queries of `asked` [S, A, D] meet the keys of all events x [S, T, D] of their histories: [S, A, D]."""
        q, k, v = self._split(self.query(asked)), self._split(self.key(x)), self._split(self.value(x))
        with torch.autocast(x.device.type, enabled=False):
            mixed = l2_normalised_attention(q, k, v, histories.present)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        # Norms and sums over a history stay in float32 whatever the projections ran in.
        heads: Tensor = x.to(self.out.weight.dtype).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return heads


def l2_normalised_attention(q: Tensor, k: Tensor, v: Tensor, present: Tensor) -> Tensor:
    """rho_1(elu(q)) (rho_2(elu(k))^T v) over events that are present, bool [S, T]: [S, H, A, K].

    q [S, H, A, K]; k and v [S, H, T, K].
    """
    there_S1T1 = present[:, None, :, None].to(k.dtype)
    events_S111 = there_S1T1.sum(2, keepdim=True)
    q_SHAK = normalize(elu(q), dim=-1) / q.shape[-1] ** 0.5
    k_SHTK = normalize(elu(k) * there_S1T1, dim=-2) / events_S111.sqrt()
    mixed: Tensor = q_SHAK @ (k_SHTK.mT @ v)
    return mixed
