"""A model's encoder, its step and its scores, written so that they become ONNX graphs of any length and batch.

They compute what `RecGRELA.forward`, `step`, `last_hidden` and `scores` do, which tests hold them to. Three things
are said in another way, because ONNX has neither complex numbers nor loops that are worth it: turns are cosines and
sines of angles that are brought below one turn in float64; the causal sum is `naive` over the events given and the
state before them, so that a long history goes through in pieces; buckets of counts and ages are comparisons with the
least number of each.

A state is one vector, laid out as `grela.serving.state.Layout` says: for each layer S [H, K, K], z [D] and tail
[W - 1, D]; then the hidden state [D] after the last event.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, silu

from grela.models.recgrela import RecGRELA
from grela.nn.attention import GatedLinearAttention
from grela.nn.block import Block
from grela.ops.repeats import AGES, COUNTS

# B batch, T time, D width, H heads, K = D/H, R numbers of a state, M pairs met, N items, W taps


class Embedded(nn.Module):
    """What the graphs share: the layers, items and gaps to the first layer's input, turns of positions."""

    turns_an_event: Tensor

    def __init__(self, model: RecGRELA) -> None:
        super().__init__()
        self.model = model
        c = model.config
        # As a buffer: the exporter writes a number that is multiplied with float64 in float32.
        self.register_buffer("turns_an_event", model.paces() / (2 * math.pi))
        past = c.taps - 1 if c.local_branch else 0
        self.parts = [c.width * c.width // c.heads, c.width, past * c.width]

    def embed(self, items: Tensor, gaps: Tensor, positions: Tensor) -> Tensor:
        """As `RecGRELA.embed` without dropout."""
        x: Tensor = self.model.embed(items, positions, None, gaps)
        return x

    def turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of each pair's angle at positions [...], [..., D/2]."""
        whole = positions.to(torch.float64).unsqueeze(-1) * self.turns_an_event
        angle = ((whole - whole.floor()) * (2 * math.pi)).to(self.model.embedding.weight.dtype)
        return angle.cos(), angle.sin()

    def layers_of(self, state: Tensor) -> list[tuple[Tensor, ...]]:
        """S, z and tail of each layer, flat, of states [..., R]."""
        sizes = self.parts * self.model.config.layers + [self.model.config.width]
        pieces = state.split(sizes, -1)
        return [pieces[low : low + 3] for low in range(0, 3 * self.model.config.layers, 3)]

    @property
    def size(self) -> int:
        """R."""
        return sum(self.parts) * self.model.config.layers + self.model.config.width


def rotated(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """`grela.ops.rotary.rotate` in real numbers."""
    cos, sin = turns
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def features(
    attention: GatedLinearAttention, value: Tensor, turns: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """q, k, their rotated forms and v, of each head [..., H, K]."""
    query, key = (elu(attention.query_key(value)) + 1).chunk(2, -1)
    turned = (rotated(query, turns), rotated(key, turns)) if attention.rotation else (query, key)
    q, k, q_rot, k_rot, v = (x.unflatten(-1, (attention.heads, -1)) for x in (query, key, *turned, value))
    return q, k, q_rot, k_rot, v


def convolved(attention: GatedLinearAttention, past: Tensor, length: int) -> Tensor:
    """The local branch [..., T, D] of values and the tail before them [..., W - 1 + T, D]."""
    if attention.conv is None:
        return torch.zeros_like(past)
    assert attention.conv.bias is not None
    weight = attention.conv.weight.squeeze(1)
    y = attention.conv.bias
    for tap in range(weight.shape[1]):
        y = y + past[..., tap : tap + length, :] * weight[:, tap]
    return silu(y)


def mixed(block: Block, x: Tensor, normed: Tensor, attended: Tensor, local: Tensor) -> Tensor:
    """The block's output from its input and its branches."""
    gate = block.attention.gate
    branches = attended + local
    y: Tensor = block.attention.out(branches if gate is None else branches * silu(gate(normed)))
    x = x + y
    out: Tensor = x + block.feed_forward(block.feed_forward_norm(x), None)
    return out


class Encoder(Embedded):
    """Causal: the next T events of one history, and its state before and after them."""

    def forward(self, items: Tensor, gaps: Tensor, state: Tensor, events: Tensor) -> Tensor:
        """items, gaps int64 [T]; state float32 [R], zeros at first; events int64 [1], so far: the state after, [R]."""
        length = items.shape[0]
        order = torch.arange(length)
        positions = events + order
        turns, x = self.turns(positions), self.embed(items, gaps, positions)
        after = []
        for block, (S, z, tail) in zip(self.model.each_block(), self.layers_of(state), strict=True):
            x, left = _over_time(block, x, turns, order, (S, z, tail))
            after.extend(left)
        return torch.cat([*after, x[-1]])


def _over_time(
    block: Block, x: Tensor, turns: tuple[Tensor, Tensor], order: Tensor, state: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """One block over T events [T, D] after a state, and the state it leaves, flat."""
    attention, (flat_S, flat_z, flat_tail) = block.attention, state
    normed = block.attention_norm(x)
    value = attention.value(normed)
    q, k, q_rot, k_rot, v = (y.transpose(0, 1) for y in features(attention, value, turns))
    per_head = (attention.heads, -1)
    z = flat_z.view(per_head)
    S = flat_S.view(attention.heads, z.shape[1], z.shape[1])
    back = order.unsqueeze(1) - order
    within = (back >= 0).to(value.dtype)
    log_decay = attention.log_decay()
    if log_decay is None:
        numerator = (q_rot @ k_rot.mT * within) @ v + q_rot @ S
        denominator = (q @ k.mT * within).sum(-1) + (q @ z.unsqueeze(-1)).squeeze(-1)
        S, z = S + k_rot.mT @ v, z + k.sum(1)
    else:
        fading = (back.clamp(min=0)[:, :, None] * log_decay[:, None, None, :]).exp() * within.unsqueeze(-1)
        entering = ((order + 1).unsqueeze(-1) * log_decay.unsqueeze(1)).exp()
        products = ((q_rot.unsqueeze(2) * k_rot.unsqueeze(1)) * fading).sum(-1)
        numerator = products @ v + (q_rot * entering) @ S
        sums = ((q.unsqueeze(2) * k.unsqueeze(1)) * fading).sum((-1, -2))
        denominator = sums + ((q * entering) @ z.unsqueeze(-1)).squeeze(-1)
        left, last = fading[:, -1], entering[:, -1]
        S = last.unsqueeze(-1) * S + (k_rot * left).mT @ v
        z = last * z + (k * left).sum(1)
    attended = (numerator / (denominator + attention.eps).unsqueeze(-1)).transpose(0, 1).flatten(1)
    past = torch.cat((flat_tail.view(-1, value.shape[-1]), value))
    out = mixed(block, x, normed, attended, convolved(attention, past, x.shape[0]))
    return out, [S.flatten(), z.flatten(), past[x.shape[0] :].flatten()]


class StepGraph(Embedded):
    """Causal: one event of each of B users."""

    def forward(self, items: Tensor, gaps: Tensor, state: Tensor, events: Tensor) -> Tensor:
        """items, gaps, events int64 [B] and states float32 [B, R] give the states after, [B, R]."""
        turns, x = self.turns(events), self.embed(items, gaps, events)
        after = []
        for block, (S, z, tail) in zip(self.model.each_block(), self.layers_of(state), strict=True):
            x, left = _one_event(block, x, turns, (S, z, tail))
            after.extend(left)
        return torch.cat([*after, x], -1)


def _one_event(
    block: Block, x: Tensor, turns: tuple[Tensor, Tensor], state: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    attention, (flat_S, flat_z, flat_tail) = block.attention, state
    normed = block.attention_norm(x)
    value = attention.value(normed)
    q, k, q_rot, k_rot, v = features(attention, value, turns)
    z = flat_z.unflatten(-1, (attention.heads, -1))
    S = flat_S.unflatten(-1, (attention.heads, z.shape[-1], z.shape[-1]))
    log_decay = attention.log_decay()
    if log_decay is not None:
        S, z = S * log_decay.exp().unsqueeze(-1), z * log_decay.exp()
    S, z = S + k_rot.unsqueeze(-1) * v.unsqueeze(-2), z + k
    numerator = (q_rot.unsqueeze(-2) @ S).squeeze(-2)
    attended = (numerator / ((q * z).sum(-1, keepdim=True) + attention.eps)).flatten(1)
    past = torch.cat((flat_tail.unflatten(-1, (-1, value.shape[-1])), value.unsqueeze(1)), 1)
    out = mixed(block, x, normed, attended, convolved(attention, past, 1).squeeze(1))
    return out, [S.flatten(1), z.flatten(1), past[:, 1:].flatten(1)]


class WholeEncoder(Embedded):
    """Bidirectional: the hidden state after one history's last event."""

    def forward(self, items: Tensor, gaps: Tensor) -> Tensor:
        """items, gaps int64 [T]: hidden [D]."""
        length = items.shape[0]
        positions = torch.arange(length)
        turns, x = self.turns(positions), self.embed(items, gaps, positions)
        for block in self.model.each_block():
            x = _whole(block, x, turns)
        return x[-1]


def _whole(block: Block, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    attention = block.attention
    normed = block.attention_norm(x)
    value = attention.value(normed)
    q, k, q_rot, k_rot, v = (y.transpose(0, 1) for y in features(attention, value, turns))
    numerator = q_rot @ (k_rot.mT @ v)
    denominator = (q * k.sum(1, keepdim=True)).sum(-1)
    attended = (numerator / (denominator + attention.eps).unsqueeze(-1)).transpose(0, 1).flatten(1)
    past = torch.cat((attention.empty_tail(value.unsqueeze(0))[0], value))
    return mixed(block, x, normed, attended, convolved(attention, past, x.shape[0]))


def least_of_buckets(buckets: int) -> Tensor:
    """The least number of each bucket of `grela.ops.repeats.half_octave` from 1 on, int64 [buckets - 1]."""
    return torch.tensor(
        [1 << b // 2 if b % 2 == 0 else math.isqrt((1 << b) - 1) + 1 for b in range(1, buckets)]
    )


class ScoresGraph(nn.Module):
    """Scores of all items from hidden states, of a model that has no bias for items met."""

    def __init__(self, model: RecGRELA) -> None:
        super().__init__()
        self.model = model

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [B, D]: scores [B, N]."""
        return self.joined(hidden, torch.zeros((), dtype=hidden.dtype))

    def joined(self, hidden: Tensor, raised: Tensor) -> Tensor:
        """`RecGRELA.scores_with`, given what each logit is raised by."""
        model = self.model

        def logits(query: Tensor) -> Tensor:
            products = query @ model.item_weights.T + raised
            return products if model.item_bias is None else products + model.item_bias.of_items

        if model.next_gap is None:
            return logits(hidden)
        log_p = model.next_gap.log_probabilities(hidden)
        of_classes = [
            logits(model.next_gap.of_class(hidden, number)).log_softmax(-1) + log_p[:, number : number + 1]
            for number in range(len(model.next_gap.maps))
        ]
        return torch.stack(of_classes).logsumexp(0)


class ScoresWithMet(ScoresGraph):
    """Scores where items met are raised."""

    least_counts: Tensor
    least_ages: Tensor

    def __init__(self, model: RecGRELA) -> None:
        super().__init__(model)
        self.register_buffer("least_counts", least_of_buckets(COUNTS))
        self.register_buffer("least_ages", least_of_buckets(AGES))

    def forward(  # type: ignore[override]
        self, hidden: Tensor, history: Tensor, item: Tensor, count: Tensor, age: Tensor
    ) -> Tensor:
        """hidden [B, D]; history, item, count and age, int64, of each of M pairs met, once each: scores [B, N]."""
        repeats, num_items = self.model.repeats, self.model.config.num_items
        assert repeats is not None
        by_count = repeats.by_count[(count.unsqueeze(1) >= self.least_counts).sum(1)]
        by_age = repeats.by_age[(age.unsqueeze(1) >= self.least_ages).sum(1)]
        raised = torch.zeros(hidden.shape[0] * num_items, dtype=hidden.dtype)
        raised = raised.scatter(0, history * num_items + item - 1, by_count + by_age)
        return self.joined(hidden, raised.view(-1, num_items))
