"""A state of 10^5 events, event by event, against a recompute of the history in float64 and in float32.

Tolerances are shares of the largest number; measured values are in docs/state.md.
"""

import pytest
import torch
from state_cases import history, state_model
from test_steppers import must_rank_alike, share, stepper_of

from grela.data.histories import HistoryBatch
from grela.ops.gaps import NO_TIME
from grela.serving.codec import StateCodec
from grela.serving.scorer import ModelScorer
from grela.serving.stepper import TorchStepper

EVENTS = 100_000


@pytest.mark.usefixtures("kernels")
def test_a_hundred_thousand_events_one_by_one_are_a_recompute_of_the_history():
    """Stored and read back, in float32, the only precision offered, at every hundredth."""
    items, times = history(EVENTS)
    stepper, codec = stepper_of("compiled"), StateCodec(state_model())
    state = stepper.empty()
    for place, (item, time) in enumerate(zip(items.tolist(), times.tolist(), strict=True)):
        if place % 100 == 0:
            state = codec.decode(codec.encode(state))
        state = stepper.step(state, item, None if time == NO_TIME else time)
    batch = HistoryBatch.of([items], [times])
    with torch.inference_mode():
        (exact,) = TorchStepper(state_model().double()).rebuild(batch)
    (parallel,) = stepper_of("torch").rebuild(batch)
    assert state.events == exact.events == EVENTS
    hidden = [s.recurrent[-state_model().config.width :] for s in (state, exact, parallel)]
    assert share(state.recurrent, exact.recurrent) < 5e-4
    assert share(parallel.recurrent, exact.recurrent) < 1e-5
    assert max(share(hidden[0], hidden[1]), share(hidden[2], hidden[1])) < 1e-5
    expected = ModelScorer(state_model(), window=1).scores(batch)[0]
    must_rank_alike(stepper.scores([state])[0], expected, tolerance=1e-5)
