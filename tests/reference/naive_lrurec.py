"""LRURec in float64 and complex loops over numpy, one history, with the paper's complex matrices spelled out.

It shares no code with `grela`, only names of parameters: real and imaginary parts lie side by side in them.
"""

import math

import numpy as np

from reference.naive_recgrela import gelu


def layer_norm(x, p, name, eps):
    return (x - x.mean()) / math.sqrt(x.var() + eps) * p[name + ".weight"] + p[name + ".bias"]


def feed_forward(x, p, name):
    inner = gelu(p[name + ".up.weight"] @ x + p[name + ".up.bias"])
    return p[name + ".down.weight"] @ inner + p[name + ".down.bias"]


def recurrent(x, p, name):
    """y [T, D] of one linear recurrent unit."""
    nu, theta, gamma = (np.exp(p[f"{name}.log_{part}"]) for part in ("nu", "theta", "gamma"))
    decay = np.exp(-nu + 1j * theta)
    into = p[name + ".into.weight"][0::2] + 1j * p[name + ".into.weight"][1::2]
    bias = p[name + ".into.bias"][0::2] + 1j * p[name + ".into.bias"][1::2]
    # Re(V h) takes the imaginary part of h with the imaginary part of V and a minus.
    out = p[name + ".out.weight"][:, 0::2] - 1j * p[name + ".out.weight"][:, 1::2]
    h, outputs = np.zeros(len(decay), complex), []
    for event in x:
        h = decay * h + gamma * (into @ event + bias)
        outputs.append((out @ h).real + p[name + ".out.bias"])
    return np.array(outputs)


def hidden(p, items, *, layers):
    """The hidden states [T, D] of one history of item ids, without dropout; `p` maps names to arrays."""
    eps = 1e-5
    x = np.array([layer_norm(p["embedding.weight"][item], p, "norm", eps) for item in items])
    for layer in range(layers):
        name = f"blocks.{layer}"
        mixed = x + recurrent(x, p, name + ".recurrent")
        for t in range(len(x)):
            x[t] = layer_norm(mixed[t], p, name + ".recurrent_norm", eps)
            x[t] = layer_norm(
                x[t] + feed_forward(x[t], p, name + ".feed_forward"), p, name + ".feed_norm", eps
            )
    return x
