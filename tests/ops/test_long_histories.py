"""After 100,000 events float32 still agrees with float64: both the state and what it gives out.

Sums of n terms of like sign, added one after the other in float32, drift by about 2**-24 * sqrt(n) of their
value by chance and by 2**-24 * n at worst; n = 1e5 makes that 2e-5 and 6e-3. A sum in chunks of 32 has 3,125
terms to add: 3e-6 and 2e-4. Measured on outputs, S and z: 1.5e-6 in chunks and 1.0e-5 by steps; the bounds
are about ten times that, for other processors' order of adding.
"""

import pytest
import torch
from attention_cases import H, K, V

from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import chunked, empty_state, step
from grela.ops.rotary import rotate, rotation

EVENTS = 100_000
LAST = 100


@pytest.fixture(scope="module")
def history():
    """q, k, q_rot, k_rot [1, T, H, K] and v [1, T, H, V], rotated as in the model, float64 of float32 numbers."""
    rng = torch.Generator().manual_seed(0)
    q, k = (
        positive_features(torch.randn(1, EVENTS, H * K, generator=rng, dtype=torch.float64)).float().double()
        for _ in range(2)
    )
    turns = rotation(torch.arange(EVENTS), H * K, dtype=torch.complex128)
    rotated = (rotate(x, turns).float().double() for x in (q, k))
    v = torch.randn(1, EVENTS, H, V, generator=rng, dtype=torch.float64).float().double() + 0.5
    return *(x.unflatten(-1, (H, K)) for x in (q, k, *rotated)), v


@pytest.fixture(scope="module")
def exact(history):
    segments = torch.zeros(1, EVENTS, dtype=torch.int64)
    return chunked(*history, segments, empty_state(1, H, K, V, like=history[0]))


def relative_errors(out, state, exact) -> list[float]:
    """Of the last outputs, S and z: the largest error as a share of the largest value."""
    pairs = ((out[:, -LAST:], exact[0][:, -LAST:]), (state.S, exact[1].S), (state.z, exact[1].z))
    return [((x - y).abs().max() / y.abs().max()).item() for x, y in pairs]


def test_chunked_in_float32_agrees_with_float64(history, exact):
    narrow = [x.float() for x in history]
    segments = torch.zeros(1, EVENTS, dtype=torch.int64)
    out, state = chunked(*narrow, segments, empty_state(1, H, K, V, like=narrow[0]))
    assert state.S.dtype == torch.float32
    errors = relative_errors(out, state, exact)
    assert max(errors) < 1.5e-5


@torch.inference_mode()
def test_step_in_float32_agrees_with_float64(history, exact):
    rows = [x[0].float().unsqueeze(1).unbind(0) for x in history]
    state = empty_state(1, H, K, V, like=rows[0][0])
    outputs = []
    for q, k, q_rot, k_rot, v in zip(*rows, strict=True):
        out, state = step(q, k, q_rot, k_rot, v, state)
        outputs.append(out)
    assert state.S.dtype == torch.float32
    errors = relative_errors(torch.stack(outputs[-LAST:], 1), state, exact)
    assert max(errors) < 1e-4
