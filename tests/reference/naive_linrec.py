"""LinRec in float64 loops over numpy, written from the paper's equations: one history, the T x T matrix spelled out.

It shares no code with `grela`; only the names of the parameters are the model's. Slow on purpose.
"""

import math

import numpy as np

NORM_EPS = 1e-12


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def layer_norm(x, p, name):
    return (x - x.mean()) / math.sqrt(x.var() + NORM_EPS) * p[name + ".weight"] + p[name + ".bias"]


def linear(x, p, name):
    return p[name + ".weight"] @ x + p[name + ".bias"]


def products(q, k):
    """The matrix [T, T] of one head: rho_1(elu(q)) rho_2(elu(k))^T."""
    length, per_head = q.shape
    q, k = elu(q), elu(k)
    rows = np.array([q[t] / (math.sqrt(per_head) * math.sqrt(sum(q[t] ** 2))) for t in range(length)])
    columns = np.zeros_like(k)
    for c in range(per_head):
        columns[:, c] = k[:, c] / (math.sqrt(length) * math.sqrt(sum(k[:, c] ** 2)))
    return np.array([[sum(rows[t] * columns[s]) for s in range(length)] for t in range(length)])


def attention(x, p, name, heads):
    length, width = x.shape
    q, k, v = (np.array([linear(row, p, name + part) for row in x]) for part in ("query", "key", "value"))
    mixed = np.zeros((length, width))
    for h in range(heads):
        part = slice(h * width // heads, (h + 1) * width // heads)
        matrix = products(q[:, part], k[:, part])
        for t in range(length):
            for s in range(length):
                mixed[t, part] += matrix[t, s] * v[s, part]
    return np.array([linear(row, p, name + "out") for row in mixed])


def hidden(items, p, heads, layers):
    """The hidden states [T, D] of one history, nothing dropped, by parameters `p` as the model names them."""
    x = np.array(
        [
            layer_norm(p["embedding.weight"][i] + p["positions.weight"][t], p, "norm")
            for t, i in enumerate(items)
        ]
    )
    for layer in range(layers):
        name = f"blocks.{layer}."
        mixed = attention(x, p, name + "attention.", heads)
        for t in range(len(items)):
            y = layer_norm(x[t] + mixed[t], p, name + "attention_norm")
            x[t] = layer_norm(
                y + linear(gelu(linear(y, p, name + "up")), p, name + "down"), p, name + "feed_norm"
            )
    return x
