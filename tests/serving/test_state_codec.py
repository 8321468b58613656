"""A state comes back bit for bit from its bytes, and from no other bytes at all."""

import struct
import zlib
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from state_cases import history, state_model

from grela.data.histories import HistoryBatch
from grela.errors import ConfigError, StateError
from grela.serving.codec import StateCodec, model_fingerprint
from grela.serving.state import UserState
from grela.serving.stepper import TorchStepper


@cache
def codec() -> StateCodec:
    return StateCodec(state_model())


@cache
def state_after(length: int) -> UserState:
    items, times = history(length)
    (state,) = TorchStepper(state_model()).rebuild(HistoryBatch.of([items], [times]))
    return state


def same(a: UserState, b: UserState) -> bool:
    entries = [state.met.entries() for state in (a, b)]
    return (
        a.recurrent.tobytes() == b.recurrent.tobytes()
        and (a.events, a.last_time, type(a.last_time)) == (b.events, b.last_time, type(b.last_time))
        and {*map(tuple, entries[0].tolist())} == {*map(tuple, entries[1].tolist())}
    )


def resealed(payload: bytearray) -> bytes:
    """With a right checksum."""
    return bytes(payload[:-4]) + struct.pack("<I", zlib.crc32(payload[:-4]))


@pytest.mark.parametrize("length", [0, 1, 2, 100])
@pytest.mark.parametrize("last_time", [None, 0, -(2**62), 1.5, -1e300])
def test_a_state_comes_back_bit_for_bit(length, last_time):
    state = state_after(length).copy()
    state.last_time = last_time
    payload = codec().encode(state)
    back = codec().decode(payload)
    assert same(state, back)
    assert len(payload) == 68 + 4 * len(state.recurrent) + 12 * len(state.met)
    assert codec().encode(back) == payload


def test_what_comes_back_can_go_on():
    """Its memory is its own and may be written to."""
    stepper = TorchStepper(state_model())
    state = codec().decode(codec().encode(state_after(5)))
    went_on, direct = stepper.step(state, 7, None), stepper.step(state_after(5).copy(), 7, None)
    assert same(went_on, direct)


def test_a_state_of_another_model_is_refused():
    payload = codec().encode(state_after(5))
    others = [state_model(seed=1), state_model(gate=False), state_model(layers=3)]
    nudged = state_model()
    with torch.no_grad():
        nudged.each_block()[1].feed_forward.down.bias[0] += 1e-6
    for other in (*others, nudged):
        with pytest.raises(StateError, match=r"is of the model [0-9a-f]{64}, expected [0-9a-f]{64}.*rebuild"):
            StateCodec(other).decode(payload)


def test_a_fingerprint_is_of_what_states_depend_on():
    assert model_fingerprint(state_model()) == model_fingerprint(state_model()) == codec().fingerprint
    assert len(codec().fingerprint) == 64
    scores_otherwise = state_model(dropout=0.1)
    with torch.no_grad():
        scores_otherwise.next_gap.when[0, 0] += 1
        scores_otherwise.item_bias.weight[1] += 1
    assert model_fingerprint(scores_otherwise) == codec().fingerprint


@settings(deadline=None)
@given(st.integers(0, len(codec().encode(state_after(5))) - 1))
def test_a_state_that_was_cut_off_is_refused(length):
    with pytest.raises(StateError, match="rebuild it from the events"):
        codec().decode(codec().encode(state_after(5))[:length])


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 8 * len(codec().encode(state_after(5))) - 1))
def test_a_state_with_a_flipped_bit_is_refused(bit):
    payload = bytearray(codec().encode(state_after(5)))
    payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StateError, match="rebuild it from the events"):
        codec().decode(bytes(payload))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_other_bytes_are_refused(payload):
    with pytest.raises(StateError):
        codec().decode(payload)
    with pytest.raises(StateError):
        codec().decode(codec().encode(state_after(5)) + payload + b"\0")


def placed(offset: int, form: str, value: object) -> bytes:
    payload = bytearray(codec().encode(state_after(5)))
    struct.pack_into("<" + form, payload, offset, value)
    return resealed(payload)


FIRST_ITEM = 64 + 4 * codec().layout.size


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (4, "H", 2),
        (6, "H", 3),
        (40, "I", 0),
        (44, "I", 2**32 - 1),
        (48, "Q", 6),
        (48, "Q", 2**63),
        (64, "f", np.nan),
        (64, "f", np.inf),
        (FIRST_ITEM, "i", 0),
        (FIRST_ITEM, "i", -1),
        (FIRST_ITEM, "i", 10**9),
        (FIRST_ITEM + 4, "i", 0),
        (FIRST_ITEM + 8, "i", 5),
        (FIRST_ITEM + 8, "i", -1),
    ],
)
def test_impossible_numbers_are_refused_though_the_checksum_is_right(offset, form, value):
    with pytest.raises(StateError, match="rebuild it from the events"):
        codec().decode(placed(offset, form, value))


def test_a_last_time_that_is_no_number_is_refused():
    state = state_after(5).copy()
    state.last_time = 1.5
    payload = bytearray(codec().encode(state))
    struct.pack_into("<d", payload, 56, np.nan)
    with pytest.raises(StateError, match="impossible numbers"):
        codec().decode(resealed(payload))


def test_a_bidirectional_model_has_no_states_to_encode():
    with pytest.raises(ConfigError, match="this model is bidirectional"):
        StateCodec(state_model(form="bidirectional"))
