"""The Transformer of plain linear attention in float64 loops over numpy, written from the paper's equations 7 and 9.

It shares no code with `grela`; only the names of the parameters are the model's. Slow on purpose.
"""

import math

import numpy as np

EPS = 1e-6
NORM_EPS = 1e-12


def feature(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def layer_norm(x, p, name):
    return (x - x.mean()) / math.sqrt(x.var() + NORM_EPS) * p[name + ".weight"] + p[name + ".bias"]


def linear(x, p, name):
    return p[name + ".weight"] @ x + p[name + ".bias"]


def attention(x, p, name, heads):
    length, width = x.shape
    q, k, v = (np.array([linear(row, p, name + part) for row in x]) for part in ("query", "key", "value"))
    output = np.zeros((length, width))
    for t in range(length):
        mixed = np.zeros(width)
        for h in range(heads):
            part = slice(h * width // heads, (h + 1) * width // heads)
            numerator, denominator = np.zeros(width // heads), EPS
            for s in range(t + 1):
                product = feature(q[t, part]) @ feature(k[s, part])
                numerator += product * v[s, part]
                denominator += product
            mixed[part] = numerator / denominator
        output[t] = linear(mixed, p, name + "out")
    return output


def hidden(items, p, heads, layers):
    """The hidden states [T, D] of one history, nothing dropped, by parameters `p` as the model names them."""
    x = np.array([p["embedding.weight"][i] + p["positions.weight"][t] for t, i in enumerate(items)])
    for layer in range(layers):
        name = f"blocks.{layer}."
        normed = np.array([layer_norm(row, p, name + "attention_norm") for row in x])
        x = x + attention(normed, p, name + "attention.", heads)
        for t in range(len(items)):
            inside = gelu(linear(layer_norm(x[t], p, name + "feed_norm"), p, name + "feed_forward.up"))
            x[t] += linear(inside, p, name + "feed_forward.down")
    return np.array([layer_norm(row, p, "norm") for row in x])
