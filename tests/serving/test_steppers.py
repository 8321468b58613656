"""Every stepper's states are what a recompute of the history gives, however the events came.

Tolerances are shares of the largest number: of a state's, of a history's scores. A float32 has 6e-8.
"""

import pickle
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from state_cases import ITEMS, history, state_model

from grela.data.histories import HistoryBatch
from grela.errors import ConfigError, KernelError, RequestError
from grela.models.recgrela import RecGRELA
from grela.ops.gaps import NO_TIME, gap_bucket, gap_buckets
from grela.serving.codec import StateCodec
from grela.serving.compiled_stepper import CompiledStepper, choose_stepper
from grela.serving.ranking import Candidates, top_list
from grela.serving.scorer import ModelScorer
from grela.serving.state import Events, Layout, UserState
from grela.serving.stepper import Stepper, TorchStepper, recommend_to

CLOSE = 2e-6
KINDS = ["torch", "compiled"]
VARIANTS = {
    "default": {},
    "without gate": {"gate": False},
    "without rotation": {"rotation": False},
    "without local branch": {"local_branch": False},
    "one tap": {"taps": 1},
    "six taps": {"taps": 6},
    "rotation per head": {"rotation_per_head": True},
    "learned positions": {"learned_positions": 9},
    "decay": {"decay": True},
    "paper": {"gaps": False, "repeats": False, "item_bias": False, "next_gaps": 0, "after_next": 0},
    "logits with biases": {"next_gaps": 0},
    "two classes, catalogue of one panel": {"next_gaps": 2, "num_items": 64},
    "seven items": {"num_items": 7, "layers": 1},
    "heads of 32": {"width": 64, "heads": 2},
    "heads of 64": {"width": 64, "heads": 1},
    "three heads": {"width": 48, "heads": 3},
}


@cache
def model_of(variant: str) -> RecGRELA:
    return state_model(**VARIANTS[variant])


@cache
def stepper_of(kind: str, variant: str = "default") -> Stepper:
    if kind == "torch":
        return TorchStepper(model_of(variant))
    try:
        return CompiledStepper(model_of(variant))
    except KernelError as error:
        pytest.skip(str(error))


def share(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a share of the largest number."""
    return float(np.abs(found - expected).max(initial=0) / max(1e-30, np.abs(expected).max(initial=0)))


def met(state: UserState) -> list[list[int]]:
    return sorted(state.met.entries().tolist())


def one(items: np.ndarray, times: np.ndarray) -> HistoryBatch:
    return HistoryBatch.of([items], [times])


def must_be_equal(found: UserState, expected: UserState, tolerance: float = CLOSE) -> None:
    assert (found.events, found.last_time) == (expected.events, expected.last_time)
    assert met(found) == met(expected)
    assert share(found.recurrent, expected.recurrent) < tolerance


def must_rank_alike(found: np.ndarray, expected: np.ndarray, k: int = 10, tolerance: float = CLOSE) -> None:
    """The same k best items; where the order differs, scores are equal within the tolerance."""
    everything = Candidates.of(len(expected), None, np.zeros(0, np.int64), filter_seen=False)
    a, b = (top_list(scores, np.zeros(0, np.int64), everything, k).items - 1 for scores in (found, expected))
    assert share(found, expected) < tolerance
    assert np.abs(expected[a] - expected[b]).max() <= 2 * tolerance * np.abs(expected).max()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_ragged_events_of_many_users_give_what_whole_histories_give(kind, variant):
    """More events than a tile holds; users with none at all, and none in this batch; scores as of the recommender."""
    stepper, items = stepper_of(kind, variant), VARIANTS[variant].get("num_items", ITEMS)
    histories = [history(length, seed=length, items=items) for length in (1, 5, 130, 0, 33, 47, 48, 2)]
    states = [stepper.empty() for _ in histories]
    for part in (slice(0, 3), slice(3, 120), slice(120, 121), slice(121, None)):
        states = stepper.advance(states, [Events(i[part], t[part]) for i, t in histories])
    batch = HistoryBatch.of([i for i, _ in histories], [t for _, t in histories])
    for state, expected in zip(states, stepper_of("torch", variant).rebuild(batch), strict=True):
        must_be_equal(state, expected)
    for state, expected in zip(stepper.rebuild(batch), states, strict=True):
        must_be_equal(state, expected)
    scores, expected = stepper.scores(states), ModelScorer(model_of(variant), window=1).scores(batch)
    assert scores.dtype == np.float32
    assert share(scores, expected) < CLOSE


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(0, 90),
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 90), max_size=6),
    how=st.lists(st.sampled_from(["step", "advance", "rebuild", "codec"]), min_size=8, max_size=8),
    timed=st.booleans(),
    data=st.data(),
)
@pytest.mark.parametrize("kind", KINDS)
def test_any_way_to_the_same_history_is_the_same_state(kind, length, seed, cuts, how, timed, data):
    """Piece by piece by steps, in one go, by rebuilding what was so far, through bytes and back."""
    stepper, codec = stepper_of(kind), _codec()
    items, times = history(length, seed=seed)
    if not timed:
        times = np.full(length, NO_TIME)
    state = stepper.empty()
    bounds = sorted({0, length, *(min(cut, length) for cut in cuts)})
    for low, high, way in zip(bounds[:-1], bounds[1:], how, strict=False):
        if way == "rebuild":
            (state,) = stepper.rebuild(one(items[:high], times[:high]))
            continue
        if way == "codec":
            state = codec.decode(codec.encode(state))
        if way == "step":
            for item, time in zip(items[low:high].tolist(), times[low:high].tolist(), strict=True):
                state = stepper.step(state, item, None if time == NO_TIME else time)
        else:
            (state,) = stepper.advance([state], [Events(items[low:high], times[low:high])])
    (expected,) = stepper_of("torch").rebuild(one(items, times))
    must_be_equal(state, expected)
    must_rank_alike(stepper.scores([state])[0], _scorer().scores(one(items, times))[0])
    allowed = data.draw(st.none() | st.lists(st.integers(1, ITEMS), min_size=1))
    chosen = Candidates.of(
        ITEMS,
        None if allowed is None else np.array(allowed),
        np.array(data.draw(st.lists(st.integers(1, ITEMS))), np.int64),
        filter_seen=data.draw(st.booleans()),
    )
    k = data.draw(st.integers(1, 2 * ITEMS))
    found, scores = stepper.top([state], chosen, k)[0], stepper.scores([state])[0]
    by_scores = top_list(scores, items, chosen, k)
    assert np.array_equal(found.items, by_scores.items)
    assert np.array_equal(found.scores, by_scores.scores)


@cache
def _codec() -> StateCodec:
    return StateCodec(model_of("default"))


@cache
def _scorer() -> ModelScorer:
    return ModelScorer(model_of("default"), window=1)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_scores_go_to_the_smaller_item(kind):
    model = state_model(num_items=200, next_gaps=0, item_bias=False, repeats=False)
    with torch.no_grad():
        model.embedding.weight[1:] = model.embedding.weight[1]
    stepper_of(kind)  # skips where there are no kernels
    stepper = TorchStepper(model) if kind == "torch" else CompiledStepper(model)
    chosen = Candidates.of(200, None, np.array([1, 4]), filter_seen=True)
    (top,) = stepper.top([stepper.step(stepper.empty(), 3, None)], chosen, 5)
    assert top.items.tolist() == [2, 5, 6, 7, 8]


@pytest.mark.parametrize("kind", KINDS)
def test_angles_are_exact_far_out(kind):
    """At position 10^6 a float32 angle would be wrong by 0.06; here the step is held against one in float64."""
    stepper, exact = stepper_of(kind), TorchStepper(state_model().double())
    items, times = history(30)
    states = [s.rebuild(one(items, times))[0] for s in (stepper, exact)]
    for far in (10**6, 10**8 + 7, 2**31 - 100):
        found, expected = (state.copy() for state in states)
        for state, by in ((found, stepper), (expected, exact)):
            state.events += far
            for item in (4, 9, 4):
                by.step(state, item, None)
        assert share(found.recurrent, expected.recurrent) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_outside_the_catalogue_changes_nothing(kind):
    stepper = stepper_of(kind)
    state, other = stepper.rebuild(HistoryBatch.of([history(5)[0], history(9)[0]]))
    before = [s.copy() for s in (state, other)]
    for item in (0, ITEMS + 1, -1, 2**31 - 1):
        with pytest.raises(IndexError, match="expected 1 to 90"):
            stepper.step(state, item, None)
        with pytest.raises(IndexError, match="expected 1 to 90"):
            stepper.advance([state, other], [Events.of([3], [None]), Events.of([3, item], [None, None])])
    for now, kept in zip((state, other), before, strict=True):
        assert np.array_equal(now.recurrent, kept.recurrent)
        assert (met(now), now.events, now.last_time) == (met(kept), kept.events, kept.last_time)


@pytest.mark.parametrize("kind", KINDS)
def test_no_users_and_no_events_are_fine(kind):
    stepper = stepper_of(kind)
    assert stepper.advance([], []) == []
    assert stepper.rebuild(HistoryBatch.of([])) == []
    assert stepper.scores([]).shape == (0, ITEMS)
    everything = Candidates.of(ITEMS, None, np.zeros(0, np.int64), filter_seen=False)
    assert stepper.top([], everything, 3) == []
    (state,) = stepper.rebuild(one(*history(3)))
    kept = state.copy()
    must_be_equal(stepper.advance([state], [Events.of([], [])])[0], kept, tolerance=1e-30)


@pytest.mark.parametrize("kind", KINDS)
def test_times_of_another_type_are_refused(kind):
    stepper = stepper_of(kind)
    state = stepper.step(stepper.empty(), 1, 1.5)
    with pytest.raises(ValueError, match=r"times are int64, and a state's last one is 1\.5"):
        stepper.advance([state], [Events.of([1], [2])])
    assert stepper.step(state, 1, None).last_time is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_would_be_wrong_in_memory_is_refused(kind):
    stepper = stepper_of(kind)
    state, event = stepper.empty(), Events.of([1], [None])
    everything = Candidates.of(ITEMS, None, np.zeros(0, np.int64), filter_seen=False)
    with pytest.raises(ValueError, match="given twice"):
        stepper.advance([state, state], [event, event])
    with pytest.raises(TypeError, match=r"int64.*int32"):
        stepper.advance([state], [Events(np.array([1]), event.times)])
    with pytest.raises(RequestError, match="k is 0"):
        stepper.top([state], everything, 0)
    other = TorchStepper(state_model(layers=1)).empty()
    for call in (
        lambda: stepper.step(other, 1, None),
        lambda: stepper.advance([other], [event]),
        lambda: stepper.scores([other]),
        lambda: stepper.top([other], everything, 3),
    ):
        with pytest.raises(ValueError, match=r"expected .*: it is of another model"):
            call()
    assert state.events == other.events == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "copied",
    [UserState.copy, deepcopy, lambda state: pickle.loads(pickle.dumps(state))],
    ids=["copy", "deep", "pickle"],
)
def test_copies_go_their_own_way(kind, copied):
    stepper = stepper_of(kind)
    (state,) = stepper.rebuild(one(*history(20)))
    kept, other = state.copy(), copied(state)
    must_be_equal(stepper.step(other, 5, None), stepper.step(state.copy(), 5, None), tolerance=1e-30)
    must_be_equal(state, kept, tolerance=1e-30)


@pytest.mark.parametrize("kind", KINDS)
def test_users_without_events_get_the_fallback(kind):
    stepper, fallback = stepper_of(kind), np.arange(ITEMS, dtype=np.float32) % 7
    chosen = Candidates.of(ITEMS, None, np.array([7]), filter_seen=True)
    warm = stepper.rebuild(one(*history(9)))[0]
    cold, found, again = recommend_to(stepper, fallback, [stepper.empty(), warm, stepper.empty()], chosen, 4)
    assert cold.items.tolist() == again.items.tolist() == [14, 21, 28, 35]
    assert np.array_equal(found.items, stepper.top([warm], chosen, 4)[0].items)


@settings(deadline=None)
@given(
    st.integers(-(2**61), 2**61) | st.floats(-1e18, 1e18),
    st.integers(0, 2**61) | st.floats(0, 1e18) | st.sampled_from([2**k for k in range(60)]),
)
def test_the_bucket_of_one_gap_is_that_of_many(before, apart):
    times = np.array([before, before + apart])
    assert gap_bucket(times[0].item(), times[1].item()) == gap_buckets(times, np.array([0]))[1]


def test_a_state_is_as_large_at_a_million_events_as_at_ten():
    """All that grows is the table of items met, and that no further than the catalogue allows."""
    stepper = stepper_of("compiled")
    state, sizes = stepper.empty(), {}
    items = np.random.default_rng(0).integers(1, ITEMS + 1, 100_000).astype(np.int32)
    for turn in range(10):
        (state,) = stepper.advance([state], [Events(items, np.full(len(items), NO_TIME))])
        sizes[turn] = (state.recurrent.nbytes, state.met.table.nbytes, len(_codec().encode(state)))
    assert state.events == 1_000_000
    assert len(set(sizes.values())) == 1
    assert len(state.met) == ITEMS
    assert sizes[0][2] == 68 + 4 * Layout.of(state_model().config).size + 12 * ITEMS


class Work(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the numbers that PyTorch's operators write."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numbers += sum(
            x.numel() for x in torch.utils._pytree.tree_leaves(out) if isinstance(x, torch.Tensor)
        )
        return out


def test_an_event_is_as_much_work_at_a_million_events_as_at_ten():
    """Turns of early positions are looked up, which is less work by at most their own size."""
    stepper, done = stepper_of("torch"), {}
    (state,) = stepper.rebuild(one(*history(10)))
    for events in (10, 10_000, 1_000_000):
        state.events = events
        with Work() as work:
            stepper.step(state.copy(), 3, None)
        done[events] = work.numbers
    assert done[10_000] == done[1_000_000]
    assert done[10] <= done[1_000_000] <= done[10] + 16 * 32


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kernels_word", ["auto", "compiled", "torch"])
def test_the_stepper_is_chosen_by_the_word(kernels_word):
    expected = TorchStepper if kernels_word == "torch" else CompiledStepper
    assert type(choose_stepper(state_model(), kernels_word)) is expected


def test_what_the_kernels_cannot_do_is_said_and_left_to_torch():
    narrow = state_model(width=24, heads=2)
    assert type(choose_stepper(narrow, "auto")) is TorchStepper
    with pytest.raises(KernelError, match=r"a head is 12 wide; it knows .*use TorchStepper"):
        choose_stepper(narrow, "compiled")
    with pytest.raises(KernelError, match=r"the weights are torch.float64"):
        choose_stepper(state_model().double(), "compiled")


@pytest.mark.parametrize("kernels_word", ["auto", "compiled", "torch"])
def test_a_bidirectional_model_has_no_stepper(kernels_word):
    with pytest.raises(ConfigError, match="this model is bidirectional"):
        choose_stepper(state_model(form="bidirectional"), kernels_word)
    with pytest.raises(ConfigError, match="kernels is 'fast'"):
        choose_stepper(state_model(), "fast")
