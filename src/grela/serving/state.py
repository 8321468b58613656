"""A user's state: all that a causal model keeps of a history, of constant size but for the items met.

A state is a value to those who keep it: encoded, stored, decoded, copied. A stepper that takes one further reuses its
memory, since copying it would cost more than the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from grela.errors import ConfigError
from grela.models.recgrela import RecGRELAConfig, State
from grela.nn.attention import LayerState
from grela.ops.gaps import NO_TIME, gap_buckets
from grela.ops.linear_attention import AttentionState
from grela.serving.met import MetItems

# B users, D width, H heads, K = D/H width of a head, W taps, M layers, R numbers of the recurrent part, n events

MOST_EVENTS = 2**31 - 1  # places are int32


@dataclass(slots=True, eq=False)
class UserState:
    """What is kept of one user.

    recurrent: float32 [R], see `Layout`; made by a stepper or the codec, and never another array afterwards
    met:       the items met
    events:    how many there were
    last_time: of the last event, in the unit of the log; None if there is none, or it is not known
    """

    recurrent: np.ndarray
    met: MetItems
    events: int = 0
    last_time: int | float | None = None
    address: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.address = self.recurrent.ctypes.data

    def __reduce__(self) -> tuple[Any, ...]:
        # The address is that of memory here: another process, or a copy, has its own.
        return UserState, (self.recurrent, self.met, self.events, self.last_time)

    def copy(self) -> "UserState":
        """The same, in memory of its own."""
        return UserState(self.recurrent.copy(), self.met.copy(), self.events, self.last_time)


class Events(NamedTuple):
    """One user's next events, oldest first: dense items int32 [n] in 1..N, and times int64 or float64 [n].

    A time is not before the one before it; `NO_TIME` or NaN where it is not known. All users' times have one type.
    """

    items: np.ndarray
    times: np.ndarray

    @staticmethod
    def of(items: Sequence[int], times: Sequence[int | float | None]) -> "Events":
        """From lists; None is a time that is not known. Times are float64 if any is a float, else int64."""
        whole = not any(isinstance(time, float) for time in times)
        numbers = [(NO_TIME if whole else np.nan) if time is None else time for time in times]
        return Events(np.array(items, np.int32), np.array(numbers, np.int64 if whole else np.float64))


@dataclass(frozen=True)
class Layout:
    """Where a state's numbers lie: for each layer S [H, K, K], z [D] and tail [W - 1, D]; then the hidden state [D].

    S, z and tail are those of `grela.nn.attention.LayerState`; `past` is W - 1, or 0 without the local branch. The
    hidden state is that after the last event, and zero before the first.
    """

    layers: int
    heads: int
    width: int
    past: int

    @staticmethod
    def of(config: RecGRELAConfig) -> "Layout":
        """A model's layout; ConfigError for a bidirectional one, which has no state."""
        if config.form != "causal":
            raise ConfigError(
                f"this model is {config.form}, and each event changes all it knows of the ones before: only a causal "
                "model has a state that a session can keep; fit with form = 'causal'"
            )
        past = config.taps - 1 if config.local_branch else 0
        return Layout(config.layers, config.heads, config.width, past)

    @property
    def of_layer(self) -> int:
        """Numbers of one layer."""
        return self.width * (self.width // self.heads + 1 + self.past)

    @property
    def size(self) -> int:
        """R, the numbers of a state."""
        return self.layers * self.of_layer + self.width

    def must_fit(self, states: Sequence[UserState]) -> None:
        """ValueError for a state of another size: what is of another model must not be written to."""
        for state in states:
            if len(state.recurrent) != self.size:
                raise ValueError(
                    f"a state has {len(state.recurrent)} numbers, expected {self.size}: it is of another model"
                )

    def hidden(self, states: Sequence[UserState]) -> np.ndarray:
        """The hidden states after the last events, float32 [B, D]."""
        self.must_fit(states)
        rows = [state.recurrent[-self.width :] for state in states]
        return np.stack(rows) if rows else np.zeros((0, self.width), np.float32)

    def unpacked(self, states: Sequence[UserState], like: Tensor) -> State:
        """The states of B users as the model takes them, with type and device of `like`."""
        self.must_fit(states)
        rows_BR = torch.from_numpy(np.stack([state.recurrent for state in states])).to(like)
        K, square = self.width // self.heads, self.width * self.width // self.heads
        layers = []
        for low in range(0, self.layers * self.of_layer, self.of_layer):
            S, z, tail = rows_BR[:, low : low + self.of_layer].split(
                [square, self.width, self.past * self.width], 1
            )
            attention = AttentionState(S.unflatten(1, (self.heads, K, K)), z.unflatten(1, (self.heads, K)))
            layers.append(LayerState(attention, tail.unflatten(1, (self.past, self.width))))
        events = torch.tensor([state.events for state in states], device=like.device)
        return State(tuple(layers), events)

    def packed(self, state: State, hidden: Tensor) -> np.ndarray:
        """The model's state and hidden states [B, D] as float32 [B, R]."""
        parts = [part for layer in state.layers for part in (*layer.attention, layer.tail)]
        rows: np.ndarray = torch.cat([x.flatten(1) for x in (*parts, hidden)], 1).float().cpu().numpy()
        return rows


def empty_user(layout: Layout) -> UserState:
    """The state before the first event."""
    return UserState(np.zeros(layout.size, np.float32), MetItems())


class Incoming(NamedTuple):
    """B users' next events, P in all, one user's after the other's.

    ends, lengths: int64 [B], where each user's end, and how many they are
    items, gaps:   int32, uint8 [P]; a gap's bucket is that from the event before it in the history
    last_times:    of each user; None where it is not known
    """

    ends: np.ndarray
    lengths: np.ndarray
    items: np.ndarray
    gaps: np.ndarray
    last_times: list[int | float | None]


def must_go_together(states: Sequence[UserState], events: Sequence[Events]) -> None:
    """TypeError where items are not int32; ValueError where times are not of one type, or a user is named twice."""
    if len({id(state) for state in states}) != len(states):
        raise ValueError("a user's state is given twice, expected each user once, with all events together")
    if not events:
        return
    times = events[0].times.dtype
    for items, at in events:
        if items.dtype != np.int32:
            raise TypeError(f"items are {items.dtype}, expected int32")
        if at.dtype != times:
            raise ValueError(f"times are {times} and {at.dtype}, expected one type")
    whole = times.kind == "i"
    for state in states:
        if state.last_time is not None and isinstance(state.last_time, int) != whole:
            raise ValueError(
                f"times are {times}, and a state's last one is {state.last_time!r}: a log's times have one type"
            )


def incoming(states: Sequence[UserState], events: Sequence[Events]) -> Incoming:
    """The events that follow states, side by side; raises as `must_go_together`."""
    must_go_together(states, events)
    lengths = np.array([len(e.items) for e in events], np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    items = np.concatenate([np.zeros(0, np.int32), *(e.items for e in events)])
    times = np.concatenate([e.times for e in events]) if events else np.zeros(0, np.int64)
    missing = NO_TIME if times.dtype.kind == "i" else np.nan
    before = np.array([missing if s.last_time is None else s.last_time for s in states], times.dtype)
    with_before = np.insert(times, starts, before)
    at_before = starts + np.arange(len(starts))
    gaps = np.delete(gap_buckets(with_before, at_before), at_before)
    last = with_before[ends + np.arange(len(ends))]
    last_times: list[int | float | None] = last.tolist()
    for b in np.flatnonzero((last == NO_TIME) | (last != last)).tolist():
        last_times[b] = None
    return Incoming(ends, lengths, items, gaps, last_times)


def move_on(states: Sequence[UserState], new: Incoming) -> None:
    """Count the events and take over their last times."""
    for state, n, last_time in zip(states, new.lengths.tolist(), new.last_times, strict=True):
        state.events += n
        state.last_time = last_time


def must_be_items(items: np.ndarray, num_items: int) -> None:
    """IndexError at a dense item outside 1..N."""
    if len(items) and not 1 <= int(items.min()) <= int(items.max()) <= num_items:
        raise IndexError(f"items from {items.min()} to {items.max()}, expected 1 to {num_items}")
