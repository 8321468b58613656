"""RecGRELA (Hu et al., arXiv 2506.13315): causal by default, bidirectional as in the paper.

    E_t   = LayerNorm(Dropout(Embedding[item_t] + Gap[log(time_t - time_t-1)]))
    X     = block_M( ... block_1(E))
    score = X_t . Embedding[i]                       for every item i: tied weights

Ours, and each can be switched off: the gap's embedding; a bias on the scores of items met before
(`grela.nn.repeats`); scores that are a mixture over when the next event comes (`grela.nn.next_gap`); training that
foretells the item after the next too (`grela.nn.after_next`).

The causal form attends to s <= t. It trains on every position of a history in one pass, and streams: a
history's state is, per layer, the sums S and z of linear attention and the last values of the short
convolution, of constant size whatever the history's length.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from grela.errors import ConfigError
from grela.nn.after_next import AfterNext
from grela.nn.attention import GatedLinearAttention, LayerState
from grela.nn.block import LAYER_NORM_EPS, PACKED, Block, BlockForm, PackedForms
from grela.nn.init import initialise, undrawn
from grela.nn.item_bias import ItemBias
from grela.nn.next_gap import NextGap
from grela.nn.repeats import Repeats
from grela.ops.dropout import dropout
from grela.ops.gaps import BUCKETS, UNKNOWN
from grela.ops.linear_attention import EPS, empty_state
from grela.ops.losses.targets import SeenItems
from grela.ops.packing import Packing
from grela.ops.repeats import Met, met_before
from grela.ops.rotary import paces, rotation

# B batch, T time, D width, N items, M layers

PADDING = 0


@dataclass(frozen=True, kw_only=True)
class RecGRELAConfig:
    """Shape of the model; width, heads, layers and taps are the paper's for ML-1M.

    `num_items` is N, without padding; it stays 0 until the catalogue is known. The last `added_items` of them were
    added after training, see `grela.models.new_items`. `gaps` adds an embedding of the time since the event before
    to an item's own; `repeats` a learned bias to the scores of items met before, see `grela.nn.repeats`; `item_bias`
    adds a learned bias of each item, which begins at its popularity, see `grela.nn.item_bias`; `next_gaps` is the
    number of classes of the gap to the next event over which scores are a mixture, see `grela.nn.next_gap`, or 0;
    `after_next` what the item after the next weighs in training, see `grela.nn.after_next`, or 0. The paper has none
    of them. `decay` lets a causal model's state fade from event to event, each pair of key channels at a learned
    rate, see `grela.nn.decay`. `rotation` turns pairs over the whole width, so that each head has a band of
    frequencies of its own (the paper); with `rotation_per_head` each has the whole band. `learned_positions` is the
    length of a table of absolute position embeddings, 0 for none (the paper); positions past its end share the last
    entry.
    """

    num_items: int = 0
    added_items: int = 0
    form: Literal["causal", "bidirectional"] = "causal"
    width: int = 64
    heads: int = 4
    layers: int = 4
    taps: int = 4
    dropout: float = 0.2
    drop_path: float = 0.0
    rotation: bool = True
    rotation_per_head: bool = False
    local_branch: bool = True
    gate: bool = True
    gaps: bool = True
    repeats: bool = True
    item_bias: bool = True
    next_gaps: int = 4
    after_next: float = 0.3
    decay: bool = False
    learned_positions: int = 0

    def __post_init__(self) -> None:
        if self.form not in ("causal", "bidirectional"):
            raise ConfigError(f"form is {self.form!r}, expected 'causal' or 'bidirectional'")
        for name, least in (("num_items", 0), ("width", 2), ("heads", 1), ("layers", 1), ("taps", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.decay and self.form != "causal":
            raise ConfigError(f"decay is set, but a {self.form} model has no state that could decay")
        if self.decay and self.width % (2 * self.heads):
            raise ConfigError(
                f"decay is set, but a head of {self.width // self.heads} channels cannot be divided into pairs"
            )
        if not 0 <= self.added_items <= self.num_items:
            raise ConfigError(f"added_items is {self.added_items}, expected 0 to num_items, {self.num_items}")
        if self.width % self.heads or self.width % 2:
            raise ConfigError(
                f"width {self.width} is not an even multiple of heads {self.heads}; change one of them"
            )
        if self.rotation_per_head and self.width % (2 * self.heads):
            raise ConfigError(
                f"rotation_per_head is set, but a head of {self.width // self.heads} channels has no pairs"
            )
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 0 and less than 1")
        if self.next_gaps < 0 or self.next_gaps == 1:
            raise ConfigError(f"next_gaps is {self.next_gaps}, expected 0 (none) or at least 2 classes")
        if not 0 <= self.after_next < float("inf"):
            raise ConfigError(f"after_next is {self.after_next}, expected 0 (none) or a positive weight")
        if self.learned_positions < 0:
            raise ConfigError(
                f"learned_positions is {self.learned_positions}, expected 0 (none) or a table's length"
            )


class State(NamedTuple):
    """What the model keeps of B histories: one LayerState a layer, and the events so far, int64 [B]."""

    layers: tuple[LayerState, ...]
    events: Tensor


class RecGRELA(nn.Module):
    """The model; parameters are drawn from `rng`. Dropout happens only where a call gets a generator."""

    def __init__(self, config: RecGRELAConfig, *, rng: torch.Generator, eps: float = EPS) -> None:
        super().__init__()
        if config.num_items < 1:
            raise ConfigError(
                f"num_items is {config.num_items}, expected the size of the catalogue, 1 or more"
            )
        self.config = config
        with undrawn(rng.device):
            self.embedding = nn.Embedding(config.num_items + 1, config.width)
            self.positions = (
                nn.Embedding(config.learned_positions, config.width) if config.learned_positions else None
            )
            self.gaps = nn.Embedding(BUCKETS, config.width) if config.gaps else None
            self.repeats = Repeats() if config.repeats else None
            self.item_bias = ItemBias(config.num_items) if config.item_bias else None
            self.next_gap = NextGap(config.width, config.next_gaps) if config.next_gaps else None
            self.norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
            self.blocks = nn.ModuleList(_block(config, eps) for _ in range(config.layers))
            self.after_next = AfterNext(config.width) if config.after_next else None
        initialise(self, rng)

    def forward(
        self,
        items: Tensor,
        segments: Tensor,
        positions: Tensor,
        state: State | None = None,
        rng: torch.Generator | None = None,
        form: BlockForm = Block.forward,
        gaps: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Causal: items int [B, T] give hidden states [B, T, D] and the state of each row's last segment.

        segments int64 [B, T] tell apart the histories packed in a row, counted from 0 without gaps;
        positions int64 [B, T] count a history's events from 0; `state` continues the first segment. `form`
        computes the blocks, see `grela.models.forms`. gaps int [B, T] are buckets of `grela.ops.gaps`; without them
        all are unknown.
        """
        self._must_be("causal")
        state = self.empty_state(len(items)) if state is None else state
        turns = self.turns(positions)
        x = self.embed(items, positions, rng, gaps)
        layers = []
        for block, before in zip(self.each_block(), state.layers, strict=True):
            x, after = form(block, x, turns, segments, before, rng)
            layers.append(after)
        return x, State(tuple(layers), positions[:, -1] + 1)

    def whole(
        self,
        items: Tensor,
        lengths: Tensor,
        rng: torch.Generator | None = None,
        gaps: Tensor | None = None,
    ) -> Tensor:
        """Bidirectional: items int [B, T], padded with 0 on the right, give hidden states [B, T, D]."""
        x, turns, present = self._before_last_block(items, lengths, rng, gaps)
        return self.each_block()[-1].whole(x, turns, present, rng)

    def last_hidden(
        self,
        items: Tensor,
        lengths: Tensor,
        rng: torch.Generator | None = None,
        gaps: Tensor | None = None,
    ) -> Tensor:
        """The hidden state [B, D] at each history's last event: items int [B, T] padded right, lengths [B] from 1."""
        if self.config.form == "causal":
            positions = torch.arange(items.shape[1], device=items.device).expand(items.shape)
            hidden, _ = self(items, torch.zeros_like(positions), positions, rng=rng, gaps=gaps)
            last: Tensor = hidden[torch.arange(len(items), device=items.device), lengths - 1]
            return last
        x, turns, present = self._before_last_block(items, lengths, rng, gaps)
        return self.each_block()[-1].last(x, turns, present, lengths, rng)

    def packed_last_hidden(
        self,
        items: Tensor,
        packing: Packing,
        rng: torch.Generator | None = None,
        form: PackedForms = PACKED,
        gaps: Tensor | None = None,
    ) -> Tensor:
        """Bidirectional: `last_hidden` [B, D] of histories one after the other without padding, items int [P].

        `form` computes the blocks, see `grela.models.forms`; the last is computed where it is needed alone.
        """
        self._must_be("bidirectional")
        turns = self.turns(torch.arange(packing.longest, device=items.device))[packing.positions]
        x = self.embed(items, packing.positions, rng, gaps).unsqueeze(0)
        for block in self.each_block()[:-1]:
            x = form.every(block, x, turns, packing, rng)
        return form.last(self.each_block()[-1], x, turns, packing, rng).squeeze(0)

    def step(self, items: Tensor, state: State, gaps: Tensor | None = None) -> tuple[Tensor, State]:
        """One event a history: items and gaps int [B] and their states give hidden states [B, D], the states after."""
        self._must_be("causal")
        turns = self.turns(state.events)
        x = self.embed(items, state.events, None, gaps)
        layers = []
        for block, before in zip(self.each_block(), state.layers, strict=True):
            x, after = block.step(x, turns, before)
            layers.append(after)
        return x, State(tuple(layers), state.events + 1)

    def scores(self, hidden: Tensor, seen: SeenItems | None = None) -> Tensor:
        """Scores [B, N] of items 1..N for hidden states [B, D]; column j is item j + 1.

        They are logits, or with `next_gaps` logarithms of probabilities. `seen` says what each history holds,
        which a model with `repeats` must know: ConfigError without it.
        """
        met = None
        if self.repeats is not None:
            if seen is None:
                raise ConfigError("this model has a bias for items of the history: say what was seen")
            met = met_before(seen, 0, len(hidden), self.config.num_items).to(hidden.device)
        return self.scores_with(hidden, met)

    def scores_with(self, hidden: Tensor, met: Met | None) -> Tensor:
        """`scores`, given what each history has met; a model without `repeats` does not look at it."""
        if self.next_gap is None:
            return self._logits(hidden, met)
        total = torch.full((), -torch.inf, device=hidden.device)
        for number, log_when_B in enumerate(self.next_gap.log_probabilities(hidden).unbind(1)):
            logits_BN = self._logits(self.next_gap.of_class(hidden, number), met)
            total = torch.logaddexp(total, logits_BN.log_softmax(-1) + log_when_B.unsqueeze(1))
        return total

    def _logits(self, hidden: Tensor, met: Met | None) -> Tensor:
        logits_BN = hidden @ self.item_weights.T
        if self.item_bias is not None:
            logits_BN = logits_BN + self.item_bias.of_items
        if self.repeats is not None and met is not None:
            self.repeats.raise_met(logits_BN, met)
        return logits_BN

    @property
    def item_weights(self) -> Tensor:
        """The embeddings [N, D] of items 1..N: padding is never a candidate."""
        return self.embedding.weight[PADDING + 1 :]

    def empty_state(self, batch: int) -> State:
        """The state of `batch` histories without events."""
        c = self.config
        like = self.embedding.weight
        per_head = c.width // c.heads
        tail = torch.zeros(
            batch, c.taps - 1 if c.local_branch else 0, c.width, dtype=like.dtype, device=like.device
        )
        layer = LayerState(empty_state(batch, c.heads, per_head, per_head, like=like), tail)
        return State((layer,) * c.layers, torch.zeros(batch, dtype=torch.int64, device=like.device))

    def embed(
        self, items: Tensor, positions: Tensor, rng: torch.Generator | None, gaps: Tensor | None = None
    ) -> Tensor:
        """E = LayerNorm(Dropout(Embedding[item] + ...)), with what the config adds to an item's embedding."""
        x = self.embedding(items)
        for table, index in self.added(positions, gaps):
            x = x + table(index)
        embedded: Tensor = self.norm(dropout(x, self.config.dropout, rng))
        return embedded

    def added(self, positions: Tensor, gaps: Tensor | None) -> list[tuple[nn.Embedding, Tensor]]:
        """The tables whose rows are added to the items' embeddings, and the rows: int64, shaped as the positions."""
        added = []
        if self.positions is not None:
            added.append((self.positions, positions.clamp(max=self.config.learned_positions - 1)))
        if self.gaps is not None:
            added.append((self.gaps, torch.full_like(positions, UNKNOWN) if gaps is None else gaps.long()))
        return added

    def _before_last_block(
        self, items: Tensor, lengths: Tensor, rng: torch.Generator | None, gaps: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bidirectional: the last block's input, the positions' turns, and where there is an event."""
        self._must_be("bidirectional")
        positions = torch.arange(items.shape[1], device=items.device).expand(items.shape)
        present = positions < lengths.unsqueeze(1)
        turns = self.turns(positions)
        x = self.embed(items, positions, rng, gaps)
        for block in self.each_block()[:-1]:
            x = block.whole(x, turns, present, rng)
        return x, turns, present

    def each_block(self) -> list[Block]:
        """The blocks, first to last."""
        return cast("list[Block]", list(self.blocks))

    def turns(self, positions: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The turn of each pair of channels at positions [...]: complex [..., D/2], as precise as the weights."""
        dtype, c = dtype or self.embedding.weight.dtype.to_complex(), self.config
        if not c.rotation_per_head:
            return rotation(positions, c.width, dtype=dtype)
        of_a_head = rotation(positions, c.width // c.heads, dtype=dtype)
        return torch.cat([of_a_head] * c.heads, -1)

    def paces(self) -> Tensor:
        """By what angle each pair of channels turns from one event to the next, float64 [D/2]; see `turns`."""
        c = self.config
        return paces(c.width // c.heads).repeat(c.heads) if c.rotation_per_head else paces(c.width)

    def _must_be(self, form: str) -> None:
        if self.config.form != form:
            raise ConfigError(f"this model is {self.config.form}: only a {form} one can do this")


def _block(config: RecGRELAConfig, eps: float) -> Block:
    attention = GatedLinearAttention(
        config.width,
        heads=config.heads,
        taps=config.taps,
        rotation=config.rotation,
        local_branch=config.local_branch,
        gate=config.gate,
        eps=eps,
        decay=config.decay,
    )
    return Block(config.width, attention, dropout=config.dropout, drop_path=config.drop_path)
