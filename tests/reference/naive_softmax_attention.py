"""Softmax attention, linear maps and layer norms in float64 loops over numpy: one history, every sum spelled out.

It shares no code with `grela`; only the names of the parameters are the models'. Slow on purpose.
"""

import math

import numpy as np


def parameters(module) -> dict[str, np.ndarray]:
    """All of a module's parameters by name, float64."""
    return {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}


def layer_norm(x, p, name, eps):
    """Of each row of x [T, D]."""
    rows = [(row - row.mean()) / math.sqrt(((row - row.mean()) ** 2).mean() + eps) for row in x]
    return np.stack(rows) * p[name + ".weight"] + p[name + ".bias"]


def linear(x, p, name):
    """Of each row of x [T, D]."""
    return np.stack([p[name + ".weight"] @ row + p[name + ".bias"] for row in x])


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def attention(queries, keys, p, name, *, heads, causal):
    """[T, D] of queries and keys [T, D], all of them events."""
    q, k, v = (
        linear(queries, p, name + ".query"),
        linear(keys, p, name + ".key"),
        linear(keys, p, name + ".value"),
    )
    length, width = q.shape
    each = width // heads
    mixed = np.zeros((length, width))
    for t in range(length):
        seen = range(t + 1) if causal else range(length)
        for h in range(heads):
            part = slice(h * each, (h + 1) * each)
            weights = np.array([math.exp(q[t, part] @ k[s, part] / math.sqrt(each)) for s in seen])
            for s, weight in zip(seen, weights / weights.sum(), strict=True):
                mixed[t, part] += weight * v[s, part]
    return linear(mixed, p, name + ".out")
