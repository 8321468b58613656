"""BERT4Rec (Sun et al., CIKM 2019, arXiv 1904.06690): softmax attention in both directions, taught by masked items.

    E_t = Dropout(LayerNorm(Embedding[item_t] + Position[t]))
    A   = LayerNorm(X + Dropout(Attention(X, X, X)))
    X   = LayerNorm(A + Dropout(GELU(A W_1 + b_1) W_2 + b_2))
    score(i) = LayerNorm(GELU(X_t W + b)) . Embedding[i] + bias_i

The norms of E and of the last line are those of the authors' code, which the paper leaves out; its constant segment
embedding is left out here, being part of the positions. Items are drawn from a history and replaced by a mask, whose
hidden states are to tell them (the paper's section 3.6); a recommendation is what a mask after the last event tells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from grela.errors import ConfigError
from grela.models.sequential import Examples, Padded, SequentialModel, Windows
from grela.nn.init import initialise
from grela.nn.item_bias import ItemBias
from grela.nn.softmax_attention import SoftmaxAttention
from grela.ops.dropout import dropout

# S histories, T time, D width, N items


@dataclass(frozen=True, kw_only=True)
class BERT4RecConfig:
    """For ML-1M, as in the paper (section 4.3) and the authors' code (bert_config_ml-1m_64.json, run_ml-1m.sh).

    masked:     the share of a sample's items that are masked, to the nearest item, at least one
    last_alone: the share of samples of which the last item alone is masked; the authors' have one of them to ten others
    positions:  events that are read at most, besides the mask
    """

    width: int = 64
    heads: int = 2
    layers: int = 2
    inner_width: int = 256
    dropout: float = 0.2
    masked: float = 0.2
    last_alone: float = 1 / 11
    positions: int = 200

    def __post_init__(self) -> None:
        for name in ("masked", "last_alone"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 to 1")


class BERT4Rec(SequentialModel):
    """The model; reads at most `positions` events, before the mask."""

    def __init__(self, num_items: int, config: BERT4RecConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.mask = nn.Embedding(1, config.width)
            self.positions = nn.Embedding(config.positions + 1, config.width)
            self.embedding_norm = nn.LayerNorm(config.width, eps=1e-12)
            self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
            self.transform = nn.Linear(config.width, config.width)
            self.transform_norm = nn.LayerNorm(config.width, eps=1e-12)
            self.item_bias = ItemBias(num_items)
        self.to_empty(device=rng.device)
        initialise(self, rng)

    @property
    def masked_item(self) -> int:
        """What stands in a history in place of a masked item: N + 1."""
        return self.num_items + 1

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The transformed hidden states [S, T, D]; those of a `masked_item` tell what is masked."""
        items, rate = histories.items, self.config.dropout
        masked = items == self.masked_item
        known = self.embedding(items.masked_fill(masked, 0))
        place = torch.arange(items.shape[1], device=items.device)
        x = torch.where(masked.unsqueeze(-1), self.mask.weight, known) + self.positions(place)
        x = dropout(self.embedding_norm(x), rate, rng)
        for block in self.blocks:
            x = block(x, histories.present, rng)
        transformed: Tensor = self.transform_norm(gelu(self.transform(x)))
        return transformed

    def learn(self, windows: Windows, rng: torch.Generator) -> Examples:
        """What a row teaches: of each window, with what follows its last event, the masked items.

        Most lie amid what they are told by, so that nothing is said of what was seen before them.
        """
        whole = _longer(windows.histories, _following(windows))
        masked = self.masks(whole.lengths, rng)
        hidden = self.hidden(whole._replace(items=whole.items.masked_fill(masked, self.masked_item)), rng)
        return Examples(hidden[masked], whole.items[masked])

    def last_hidden(self, histories: Padded) -> Tensor:
        """The hidden states [S, D] of a mask after each history; nothing is dropped."""
        ends = torch.full_like(histories.lengths, self.masked_item)
        hidden = self.hidden(_longer(histories, ends))
        return hidden[torch.arange(len(hidden), device=hidden.device), histories.lengths]

    def masks(self, lengths: Tensor, rng: torch.Generator) -> Tensor:
        """Which items of samples of so many events are masked, drawn from rng: bool [S, T], at least one of each."""
        S, T = len(lengths), int(lengths.max())
        place = torch.arange(T, device=lengths.device)
        drawn = torch.rand(S, T, generator=rng, device=rng.device)
        order = drawn.masked_fill(place >= lengths.unsqueeze(1), torch.inf).argsort(1)
        count = (lengths * self.config.masked).round().clamp(min=1)
        some = torch.zeros_like(order, dtype=torch.bool).scatter(1, order, place < count.unsqueeze(1))
        last = place == lengths.unsqueeze(1) - 1
        alone = torch.rand(S, 1, generator=rng, device=rng.device) < self.config.last_alone
        return torch.where(alone, last, some)


class _Block(nn.Module):
    def __init__(self, config: BERT4RecConfig) -> None:
        super().__init__()
        D, self.rate = config.width, config.dropout
        self.attention = SoftmaxAttention(D, heads=config.heads, dropout=config.dropout, causal=False)
        self.attention_norm = nn.LayerNorm(D, eps=1e-12)
        self.up, self.down = nn.Linear(D, config.inner_width), nn.Linear(config.inner_width, D)
        self.feed_norm = nn.LayerNorm(D, eps=1e-12)

    def forward(self, x: Tensor, present: Tensor, rng: torch.Generator | None) -> Tensor:
        x = self.attention_norm(x + dropout(self.attention(x, x, present, rng), self.rate, rng))
        fed: Tensor = self.feed_norm(x + dropout(self.down(gelu(self.up(x))), self.rate, rng))
        return fed


def _following(windows: Windows) -> Tensor:
    """The item that follows each history's last event, int64 [S]."""
    items, lengths, _ = windows.histories
    targets = torch.zeros_like(items).flatten().index_put((windows.places,), windows.targets).view_as(items)
    return targets[torch.arange(len(items), device=items.device), lengths - 1]


def _longer(histories: Padded, items: Tensor) -> Padded:
    """Each history with one more event, of items [S]; without times."""
    S = len(items)
    longer = torch.cat((histories.items, histories.items.new_zeros(S, 1)), 1)
    longer[torch.arange(S, device=items.device), histories.lengths] = items
    return Padded(longer, histories.lengths + 1)
