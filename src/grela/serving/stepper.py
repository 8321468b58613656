"""What takes users' states further and scores by them: a protocol, and the form that every other one answers to."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from grela.data.histories import HistoryBatch
from grela.models.forms import TORCH, ChosenForm
from grela.models.recgrela import RecGRELA
from grela.ops.gaps import NO_TIME
from grela.ops.parallel import map_on_cores
from grela.ops.repeats import AGES, COUNTS, Met, half_octave
from grela.serving.met import MetItems
from grela.serving.ranking import Candidates, TopList, must_be_positive, top_list
from grela.serving.state import Events, Layout, UserState, empty_user, incoming, move_on, must_be_items
from grela.serving.top_k import top_k

# B users, N items, n events of a user


class Stepper(Protocol):
    """Users' states under one model. No method looks at a clock, and none keeps a state.

    Calls may come from several threads as long as no two of them have the same state.
    """

    @property
    def model(self) -> RecGRELA:
        """The model, whose fingerprint keys stored states."""

    @property
    def layout(self) -> Layout:
        """The shape of a state's recurrent part."""

    def empty(self) -> UserState:
        """The state before the first event."""

    def step(self, state: UserState, item: int, time: int | float | None) -> UserState:
        """One event of one user; `state` is consumed. IndexError, and nothing is changed, at an item outside 1..N."""

    def advance(self, states: Sequence[UserState], events: Sequence[Events]) -> list[UserState]:
        """The states after each user's events, of which there may be none; `states` are consumed.

        A user is named once. IndexError at an item outside 1..N, ValueError at a state of another size, a user named
        twice or times of several types; nothing is changed then.
        """

    def rebuild(self, batch: HistoryBatch) -> list[UserState]:
        """The states after whole histories, from the events alone."""

    def scores(self, states: Sequence[UserState]) -> np.ndarray:
        """The score of every item for each user, float32 [B, N], as `ModelScorer.scores` of the history."""

    def top(self, states: Sequence[UserState], candidates: Candidates, k: int) -> list[TopList]:
        """The k best candidates by these scores, as `grela.serving.lists.recommend`; cold start is the caller's."""


class TorchStepper:
    """A `Stepper` by `RecGRELA.step`, and by `RecGRELA.forward` for whole histories.

    form: computes the blocks of whole histories; positions: how many events of one go through at a time.
    Raises ConfigError for a bidirectional model.
    """

    def __init__(self, model: RecGRELA, *, form: ChosenForm = TORCH, positions: int = 2_048) -> None:
        self.layout = Layout.of(model.config)
        self.model = model
        self.form = form
        self.positions = positions

    def empty(self) -> UserState:
        """As of every `Stepper`."""
        return empty_user(self.layout)

    def step(self, state: UserState, item: int, time: int | float | None) -> UserState:
        """As of every `Stepper`."""
        unknown = np.nan if isinstance(state.last_time, float) else NO_TIME
        times = np.array([unknown if time is None else time])
        return self.advance([state], [Events(np.array([item], np.int32), times)])[0]

    @torch.inference_mode()
    def advance(self, states: Sequence[UserState], events: Sequence[Events]) -> list[UserState]:
        """As of every `Stepper`."""
        new = incoming(states, events)
        must_be_items(new.items, self.model.config.num_items)
        starts = new.ends - new.lengths
        for place in range(new.lengths.max(initial=0)):
            going = np.flatnonzero(new.lengths > place)
            at = starts[going] + place
            self._one_event([states[b] for b in going.tolist()], place, new.items[at], new.gaps[at])
        for state, start, end in zip(states, starts.tolist(), new.ends.tolist(), strict=True):
            state.met.add(new.items[start:end], state.events)
        move_on(states, new)
        return list(states)

    def _one_event(self, states: list[UserState], place: int, items: np.ndarray, gaps: np.ndarray) -> None:
        """The next event of each user, which is `place` after those that the states say."""
        state = self.layout.unpacked(states, self.model.embedding.weight)
        state = state._replace(events=state.events + place)
        hidden, after = self.model.step(self._ids(items), state, self._ids(gaps))
        for user, row in zip(states, self.layout.packed(after, hidden), strict=True):
            user.recurrent[:] = row

    def rebuild(self, batch: HistoryBatch) -> list[UserState]:
        """As of every `Stepper`: by the parallel form, histories side by side on the cores."""
        return map_on_cores(
            lambda b: self._rebuilt(batch.take(slice(b, b + 1))),
            range(len(batch)),
            threads=torch.get_num_threads(),
        )

    @torch.inference_mode()
    def _rebuilt(self, batch: HistoryBatch) -> UserState:
        """One history's state. This mode is a thread's own, so it is set here."""
        user, items, gaps = self.empty(), batch[0], batch.gaps
        if not len(items):
            return user
        must_be_items(items, self.model.config.num_items)
        state = self.model.empty_state(1)
        for low in range(0, len(items), self.positions):
            piece = self._ids(items[low : low + self.positions]).unsqueeze(0)
            hidden, state = self.model(
                piece,
                torch.zeros_like(piece),
                low + torch.arange(piece.shape[1], device=piece.device).unsqueeze(0),
                state,
                form=self.form.block,
                gaps=self._ids(gaps[low : low + self.positions]).unsqueeze(0),
            )
        user.recurrent[:] = self.layout.packed(state, hidden[:, -1])[0]
        user.met, user.events = MetItems.of(items), len(items)
        last = batch.times[batch.end[0] - 1].item()
        user.last_time = None if last == NO_TIME or last != last else last
        return user

    @torch.inference_mode()
    def scores(self, states: Sequence[UserState]) -> np.ndarray:
        """As of every `Stepper`."""
        weight = self.model.embedding.weight
        hidden_BD = torch.from_numpy(self.layout.hidden(states)).to(weight)
        met = None if self.model.repeats is None else met_of(states).to(weight.device)
        scores: np.ndarray = self.model.scores_with(hidden_BD, met).float().cpu().numpy()
        return scores

    def top(self, states: Sequence[UserState], candidates: Candidates, k: int) -> list[TopList]:
        """As of every `Stepper`."""
        hidden_BD = torch.from_numpy(self.layout.hidden(states)).to(self.model.embedding.weight)
        return top_k(self.model, hidden_BD, met_of(states), candidates, must_be_positive(k))

    def _ids(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self.model.embedding.weight.device)


def met_of(states: Sequence[UserState]) -> Met:
    """What users have met, as the model's scores read it."""
    entries = [state.met.entries() for state in states]
    lengths = [len(rows) for rows in entries]
    rows = torch.from_numpy(np.concatenate([np.zeros((0, 3), np.int32), *entries]).astype(np.int64))
    position = torch.from_numpy(np.repeat(np.arange(len(states)), lengths))
    events = torch.tensor([state.events for state in states], dtype=torch.int64)[position]
    item, count, last = rows.unbind(1)
    return Met(position, item, half_octave(count, COUNTS), half_octave(events - last, AGES))


def recommend_to(
    stepper: Stepper, fallback: np.ndarray, states: Sequence[UserState], candidates: Candidates, k: int
) -> list[TopList]:
    """The k best candidates for each user; those without events get the best by `fallback`, float [N]: popularity."""
    cold = (
        top_list(fallback, np.zeros(0, np.int32), candidates, k)
        if any(not s.events for s in states)
        else None
    )
    warm = iter(stepper.top([state for state in states if state.events], candidates, k))
    return [next(warm) if state.events or cold is None else cold for state in states]
