"""What a sequential recommender is that is not RecGRELA, so that all are trained, scored and compared alike.

It reads histories padded on the right and says by which hidden states it learns which items: a causal one at every
position of a window; a bidirectional one from prefixes, at their last position, or in a way of its own. As in RecGRELA,
scores are products of a hidden state with the item table, raised by a bias of each item where the model has one.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from grela.nn.item_bias import ItemBias
from grela.ops.losses.targets import SeenItems

# S histories, T time, D width, P events of all histories, Q things learnt, N items

Reads = Literal["windows", "prefixes"]


class Padded(NamedTuple):
    """S histories of up to T events, oldest first, padded on the right.

    items:   int64 [S, T], 1..N; 0 is padding
    lengths: int64 [S], from 1
    times:   float64 [S, T], since the first event that is here, in the log's unit; None: not asked for
    """

    items: Tensor
    lengths: Tensor
    times: Tensor | None = None

    @property
    def present(self) -> Tensor:
        """Where there is an event, bool [S, T]."""
        return torch.arange(self.items.shape[1], device=self.items.device) < self.lengths.unsqueeze(1)

    def to(self, device: torch.device) -> "Padded":
        """The same on `device`."""
        times = None if self.times is None else self.times.to(device)
        return Padded(self.items.to(device), self.lengths.to(device), times)


class Windows(NamedTuple):
    """What a row of training holds: histories, and what follows some of their events.

    places:  int64 [Q], of those events among the flattened [S * T], ascending
    targets: int64 [Q], 1..N
    seen:    what each target's user has met before it, from the beginning of the history on
    """

    histories: Padded
    places: Tensor
    targets: Tensor
    seen: SeenItems

    def to(self, device: torch.device) -> "Windows":
        """The same on `device`, but what was seen, which losses bring there where they ask for it."""
        return Windows(self.histories.to(device), self.places.to(device), self.targets.to(device), self.seen)

    def at_places(self, hidden: Tensor) -> Tensor:
        """Of hidden [S, T, D] those at the places, [Q, D]."""
        return hidden.flatten(0, 1)[self.places]


class Examples(NamedTuple):
    """What a row teaches: by hidden states [Q, D] the items [Q], and what was seen before them, where that is known."""

    hidden: Tensor
    items: Tensor
    seen: SeenItems | None = None


class SequentialModel(nn.Module, ABC):
    """A model to be compared. What is defined here is a causal one's, which need only say its hidden states.

    Parameters are drawn from a generator that the constructor is given. Dropout happens only where a call gets one.
    """

    embedding: nn.Embedding
    item_bias: ItemBias | None
    reads: Reads = "windows"
    reads_times: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.item_bias = None

    @abstractmethod
    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The hidden states [S, T, D] of every event; at padding they mean nothing."""

    def learn(self, windows: Windows, rng: torch.Generator) -> Examples:
        """What a row teaches: every position the item that follows it."""
        hidden = windows.at_places(self.hidden(windows.histories, rng))
        return Examples(hidden, windows.targets, windows.seen)

    def last_hidden(self, histories: Padded) -> Tensor:
        """The hidden states [S, D] by which each history's next item is scored; nothing is dropped."""
        hidden = self.hidden(histories)
        return hidden[torch.arange(len(hidden), device=hidden.device), histories.lengths - 1]

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores [S, N] of items 1..N; column j is item j + 1."""
        products = hidden @ self.embedding.weight[1:].T
        return products if self.item_bias is None else products + self.item_bias.of_items

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue without padding."""
        return self.embedding.num_embeddings - 1


def padded(items: Tensor, lengths: Tensor, times: Tensor | None = None) -> tuple[Padded, Tensor]:
    """Histories that lie one after the other, items int64 [P] and times [P], as rows; and the place of each event, [P].

    lengths int64 [S], from 1, sum to P.
    """
    S, T = len(lengths), int(lengths.max())
    segments = torch.repeat_interleave(torch.arange(S, device=items.device), lengths)
    starts = (lengths.cumsum(0) - lengths)[segments]
    places = segments * T + torch.arange(len(items), device=items.device) - starts

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(S * T).index_put((places,), values).view(S, T)

    since = None if times is None else spread((times - times[starts]).double())
    return Padded(spread(items), lengths, since), places
