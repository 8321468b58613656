"""The compiled `Stepper`: equal to `TorchStepper`, on a CPU, for the models it knows."""

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from grela.data.histories import HistoryBatch
from grela.errors import KernelError
from grela.models.forms import Kernels, choose_form, why_no_kernels
from grela.models.recgrela import RecGRELA
from grela.nn.block import LAYER_NORM_EPS, Block
from grela.ops.compiled.build import load_library
from grela.ops.compiled.step import (
    Coming,
    Prepared,
    StepLayer,
    StepModel,
    StepScores,
    layers_of,
    packed,
    panels,
    raising,
    step_function,
)
from grela.ops.gaps import NO_TIME, UNKNOWN, gap_bucket
from grela.serving.met import MetItems
from grela.serving.ranking import Candidates, TopList, must_be_positive
from grela.serving.state import Events, Layout, UserState, empty_user, incoming, move_on, must_go_together
from grela.serving.stepper import Stepper, TorchStepper

# B users, P events of all, N items

HEAD_WIDTHS = (16, 32, 64)
# Users with one event each; more are taken further at once, which costs less from here on.
ONE_BY_ONE = 16

# `Scored` of step_scores.h.
_SCORED = np.dtype([("hidden", np.int64), ("table", np.int64), ("places", np.int64), ("events", np.int64)])


def why_not_compiled(model: RecGRELA) -> str | None:
    """Why the compiled step cannot be had for this model; None if it can."""
    config, weight = model.config, model.embedding.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return f"it is for float32 on the CPU, and the weights are {weight.dtype} on {weight.device}"
    if config.width // config.heads not in HEAD_WIDTHS:
        return f"a head is {config.width // config.heads} wide; it knows {HEAD_WIDTHS}"
    return None


class CompiledStepper:
    """A `Stepper` by the kernels. The model's weights must not change afterwards: copies of them are made here.

    Raises ConfigError for a bidirectional model, KernelError where there are no kernels for this machine or model.
    """

    def __init__(self, model: RecGRELA) -> None:
        self.layout = Layout.of(model.config)
        why_not = why_not_compiled(model)
        if why_not is not None:
            raise KernelError(
                f"no compiled step for this model: {why_not}; use TorchStepper, which computes the same"
            )
        load_library()
        self.model = model
        with torch.inference_mode():
            self._kept_layers = [_layer(block) for block in model.each_block()]
            self._kept_scores = _scores(model)
            self._kept_model = _whole(model, self._kept_scores)
        self._layers = layers_of(self._kept_layers)
        self._addresses = ctypes.addressof(self._kept_model.structure), ctypes.addressof(self._layers)
        self._step_one = step_function("step_one")

    def empty(self) -> UserState:
        """As of every `Stepper`."""
        return empty_user(self.layout)

    def step(self, state: UserState, item: int, time: int | float | None) -> UserState:
        """As of every `Stepper`."""
        self._must_be_item(item)
        self.layout.must_fit((state,))
        last = state.last_time
        gap = UNKNOWN if time is None or last is None else gap_bucket(last, time)
        given = (*self._addresses, state.address, state.events, item, gap)
        met = state.met
        used = self._step_one(*given, met.address, len(met.table), met.used)
        if used < 0:
            met.grow()
            used = self._step_one(*given, met.address, len(met.table), met.used)
        met.used = used
        state.events += 1
        state.last_time = time
        return state

    def advance(self, states: Sequence[UserState], events: Sequence[Events]) -> list[UserState]:
        """As of every `Stepper`."""
        self.layout.must_fit(states)
        if len(states) <= ONE_BY_ONE and all(len(e.items) == 1 for e in events):
            return self._advance_each(states, events)
        new = incoming(states, events)
        addresses = np.array([state.address for state in states], np.int64)
        before = np.array([state.events for state in states], np.int64)
        coming = Coming(
            len(states), *(x.ctypes.data for x in (addresses, new.ends, before, new.items, new.gaps))
        )
        bad = step_function("step_users")(*self._addresses, ctypes.addressof(coming))
        if bad >= 0:
            raise IndexError(f"an item is {new.items[bad]}, expected 1 to {self.model.config.num_items}")
        _note([state.met for state in states], new.ends, before, new.items)
        move_on(states, new)
        return list(states)

    def _advance_each(self, states: Sequence[UserState], events: Sequence[Events]) -> list[UserState]:
        """One event of each user, one by one."""
        must_go_together(states, events)
        items = [e.items.item() for e in events]
        for item in items:
            self._must_be_item(item)
        for state, item, (_, times) in zip(states, items, events, strict=True):
            time = times.item()
            self.step(state, item, None if time == NO_TIME or time != time else time)
        return list(states)

    def rebuild(self, batch: HistoryBatch) -> list[UserState]:
        """As of every `Stepper`: all events of all histories go through the layers in tiles, their sums in order."""
        parts = [slice(low, high) for low, high in zip(batch.start, batch.end, strict=True)]
        events = [Events(batch.items[part], batch.times[part]) for part in parts]
        return self.advance([self.empty() for _ in parts], events)

    def scores(self, states: Sequence[UserState]) -> np.ndarray:
        """As of every `Stepper`."""
        out = np.empty((len(states), self.model.config.num_items), np.float32)
        users = self._scored(states)
        step_function("step_scores")(self._addresses[0], users.ctypes.data, len(users), out.ctypes.data)
        return out

    def top(self, states: Sequence[UserState], candidates: Candidates, k: int) -> list[TopList]:
        """As of every `Stepper`."""
        k = min(must_be_positive(k), self.model.config.num_items)
        allowed = np.ascontiguousarray(candidates.allowed, np.bool_)
        if allowed.shape != (self.model.config.num_items,):
            raise ValueError(f"allowed is {allowed.shape}, expected ({self.model.config.num_items},)")
        items, scores = np.empty((len(states), k), np.int32), np.empty((len(states), k), np.float32)
        counts, users = np.empty(len(states), np.int64), self._scored(states)
        arrays = (x.ctypes.data for x in (items, scores, counts))
        step_function("step_top")(
            *(self._addresses[0], users.ctypes.data, len(users), allowed.ctypes.data),
            *(candidates.filter_seen, k),
            *arrays,
        )
        return [TopList(items[b, :n], scores[b, :n]) for b, n in enumerate(counts.tolist())]

    def _must_be_item(self, item: int) -> None:
        if not 1 <= item <= self.model.config.num_items:
            raise IndexError(f"an item is {item}, expected 1 to {self.model.config.num_items}")

    def _scored(self, states: Sequence[UserState]) -> np.ndarray:
        self.layout.must_fit(states)
        hidden_at = 4 * (self.layout.size - self.layout.width)
        rows = [(s.address + hidden_at, s.met.address, len(s.met.table), s.events) for s in states]
        return np.array(rows, _SCORED)


def _note(met: list[MetItems], end: np.ndarray, before: np.ndarray, items: np.ndarray) -> None:
    """Note each user's items, growing tables as they fill."""
    tables, places, used = (
        np.array(x, np.int64)
        for x in ([m.address for m in met], [len(m.table) for m in met], [m.used for m in met])
    )
    noted = np.empty(len(met), np.int64)
    step_function("met_note_users")(
        len(met), *(x.ctypes.data for x in (tables, places, used, end, before, items, noted))
    )
    for m, taken in zip(met, used.tolist(), strict=True):
        m.used = taken
    lengths = np.diff(end, prepend=0)
    for b in np.flatnonzero(noted < lengths).tolist():
        _note_growing(met[b], items[end[b] - lengths[b] : end[b]], int(before[b]), int(noted[b]))


def _note_growing(met: MetItems, items: np.ndarray, first: int, noted: int) -> None:
    """Note one user's items [n] from place `first` on, of which some are noted already."""
    while noted < len(items):
        met.grow()
        used, rest = ctypes.c_int64(met.used), items[noted:]
        noted += step_function("met_note")(
            met.address, len(met.table), ctypes.addressof(used), rest.ctypes.data, len(rest), first + noted
        )
        met.used = used.value


def _layer(block: Block) -> Prepared[StepLayer]:
    a, f = block.attention, block.feed_forward
    inward = [a.value] if a.gate is None else [a.value, a.gate]
    fading = a.log_decay()
    return Prepared(
        StepLayer,
        {
            **_norm("norm", block.attention_norm),
            "inward": packed(*(linear.weight for linear in inward)),
            "inward_bias": torch.cat([linear.bias for linear in inward]),
            "query_key": packed(a.query_key.weight),
            "query_key_bias": a.query_key.bias.clone(),
            "taps": None if a.conv is None else a.conv.weight.squeeze(1).T.contiguous(),
            "taps_bias": None if a.conv is None or a.conv.bias is None else a.conv.bias.clone(),
            "fading": None if fading is None else fading.exp().flatten(),
            "out": packed(a.out.weight),
            "out_bias": a.out.bias.clone(),
            **_norm("second_norm", block.feed_forward_norm),
            "up": packed(f.up.weight),
            "up_bias": f.up.bias.clone(),
            "down": packed(f.down.weight),
            "down_bias": f.down.bias.clone(),
            "gated": a.gate is not None,
        },
    )


def _scores(model: RecGRELA) -> Prepared[StepScores]:
    repeats, next_gap, bias = model.repeats, model.next_gap, model.item_bias
    return Prepared(
        StepScores,
        {
            "K": model.config.next_gaps,
            "panels": panels(model.item_weights),
            "raise": raising(None if bias is None else bias.of_items, model.config.num_items),
            "count_bias": None if repeats is None else repeats.by_count.clone(),
            "age_bias": None if repeats is None else repeats.by_age.clone(),
            "when": None if next_gap is None else next_gap.when.clone(),
            "maps": None if next_gap is None else next_gap.maps.clone(),
        },
    )


def _whole(model: RecGRELA, scores: Prepared[StepScores]) -> Prepared[StepModel]:
    config, blocks = model.config, model.each_block()
    return Prepared(
        StepModel,
        {
            "M": config.layers,
            "D": config.width,
            "F": blocks[0].feed_forward.up.out_features,
            "H": config.heads,
            "W": config.taps if config.local_branch else 0,
            "N": config.num_items,
            "places": config.learned_positions,
            "norm_eps": LAYER_NORM_EPS,
            "eps": blocks[0].attention.eps,
            "pace": model.paces() if config.rotation else None,
            "items": model.embedding.weight.clone(),
            "positions": None if model.positions is None else model.positions.weight.clone(),
            "gaps": None if model.gaps is None else model.gaps.weight.clone(),
            **_norm("norm", model.norm),
            "scores": scores.structure,
        },
    )


def _norm(name: str, norm: torch.nn.LayerNorm) -> dict[str, Tensor]:
    return {name: norm.weight.clone(), name + "_bias": norm.bias.clone()}


def choose_stepper(model: RecGRELA, kernels: Kernels, *, compile_now: bool = True) -> Stepper:
    """The stepper for `kernels`: "auto" is compiled where that can be had; "torch" and "triton" are PyTorch's.

    Without `compile_now`, "auto" takes kernels only if they were compiled before: compiling takes some seconds.
    Raises ConfigError for a bidirectional model or any other word, KernelError where "compiled" cannot be had.
    """
    if kernels in ("auto", "compiled"):
        now = compile_now or kernels == "compiled"
        no_kernels = why_no_kernels(model.embedding.weight.device, compile_now=now)
        if kernels == "compiled" or (no_kernels or why_not_compiled(model)) is None:
            return CompiledStepper(model)
    return TorchStepper(model, form=choose_form(model, kernels, compile_now=compile_now))
