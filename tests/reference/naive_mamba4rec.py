"""Mamba4Rec in float64 loops over numpy, one history. It shares no code with `grela`, only names of parameters."""

import numpy as np

from reference.naive_lrurec import feed_forward, layer_norm
from reference.naive_recgrela import convolved, silu

EPS = 1e-12


def selective_scan(x, dt, A, B, C, state):
    """y [T, E] and the last state [E, N], number by number, of x and dt [T, E], A [E, N], B and C [T, N]."""
    (length, channels), places = x.shape, A.shape[1]
    state, y = state.copy(), np.zeros((length, channels))
    for t in range(length):
        for e in range(channels):
            for n in range(places):
                state[e, n] = np.exp(dt[t, e] * A[e, n]) * state[e, n] + dt[t, e] * B[t, n] * x[t, e]
                y[t, e] += C[t, n] * state[e, n]
    return y, state


def mamba(x, p, name):
    """y [T, D] of one Mamba block."""
    A, skip, weight = -np.exp(p[name + ".log_A"]), p[name + ".skip"], p[name + ".dt.weight"]
    (channels, places), rank = A.shape, weight.shape[1]
    both = x @ p[name + ".into.weight"].T
    before, gate = both[:, :channels], both[:, channels:]
    kernel = p[name + ".conv.weight"], p[name + ".conv.bias"]
    u = np.array([silu(convolved(before, t, *kernel)) for t in range(len(x))])
    selected = u @ p[name + ".select.weight"].T
    dt = np.log1p(np.exp(selected[:, :rank] @ weight.T + p[name + ".dt.bias"]))
    B, C = selected[:, rank : rank + places], selected[:, rank + places :]
    y, _ = selective_scan(u, dt, A, B, C, np.zeros((channels, places)))
    return ((y + skip * u) * silu(gate)) @ p[name + ".out.weight"].T


def hidden(p, items, *, layers):
    """The hidden states [T, D] of one history of item ids, without dropout; `p` maps names to arrays."""
    x = np.array([layer_norm(p["embedding.weight"][item], p, "norm", EPS) for item in items])
    for layer in range(layers):
        name = f"layers.{layer}"
        mixed = mamba(x, p, name + ".mamba")
        if layers > 1:
            mixed = x + mixed
        for t in range(len(x)):
            x[t] = layer_norm(mixed[t], p, name + ".mamba_norm", EPS)
            x[t] = layer_norm(
                x[t] + feed_forward(x[t], p, name + ".feed_forward"), p, name + ".feed_norm", EPS
            )
    return x
