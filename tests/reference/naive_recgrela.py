"""RecGRELA in float64 loops over numpy, written from the paper's formulas: one history, every sum spelled out.

It shares no code with `grela`; only the names of the parameters are the model's. Slow on purpose.
"""

import math

import numpy as np

EPS = 1e-6
NORM_EPS = 1e-12


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def feature(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0))) + 1


def layer_norm(x, weight, bias):
    return (x - x.mean()) / math.sqrt(x.var() + NORM_EPS) * weight + bias


def rotated(x, position, heads):
    """Pairs (2i, 2i+1), turned by position * 10000^(-2i/D): of the whole width (heads 1), or of each head's alone."""
    if heads > 1:
        return np.concatenate([rotated(part, position, 1) for part in np.split(x, heads)])
    turned = np.empty_like(x)
    width = len(x)
    for i in range(width // 2):
        angle = position * 10_000 ** (-2 * i / width)
        a, b = x[2 * i], x[2 * i + 1]
        turned[2 * i] = a * math.cos(angle) - b * math.sin(angle)
        turned[2 * i + 1] = a * math.sin(angle) + b * math.cos(angle)
    return turned


def attention(normed, p, name, heads, form, rotation, local_branch, gate, bands):
    """Y [T, D] of one GRELA layer from LayerNorm(X) [T, D]."""
    length, width = normed.shape
    per_head = width // heads
    weights_qk, bias_qk = p[name + "query_key.weight"], p[name + "query_key.bias"]
    value, query, key = (np.zeros((length, width)) for _ in range(3))
    for t in range(length):
        value[t] = p[name + "value.weight"] @ normed[t] + p[name + "value.bias"]
        query[t] = feature(weights_qk[:width] @ value[t] + bias_qk[:width])
        key[t] = feature(weights_qk[width:] @ value[t] + bias_qk[width:])
    output = np.zeros((length, width))
    for t in range(length):
        seen = range(t + 1) if form == "causal" else range(length)
        turned_query = rotated(query[t], t, bands) if rotation else query[t]
        mixed = np.zeros(width)
        for h in range(heads):
            part = slice(h * per_head, (h + 1) * per_head)
            numerator, denominator = np.zeros(per_head), EPS
            for s in seen:
                turned_key = rotated(key[s], s, bands) if rotation else key[s]
                numerator += (turned_query[part] @ turned_key[part]) * value[s, part]
                denominator += query[t, part] @ key[s, part]
            mixed[part] = numerator / denominator
        if local_branch:
            mixed = mixed + silu(convolved(value, t, p[name + "conv.weight"], p[name + "conv.bias"]))
        if gate:
            mixed = mixed * silu(p[name + "gate.weight"] @ normed[t] + p[name + "gate.bias"])
        output[t] = p[name + "out.weight"] @ mixed + p[name + "out.bias"]
    return output


def convolved(value, t, kernel, bias):
    """Causal and depthwise: kernel [D, 1, W], whose last tap meets position t."""
    taps = kernel.shape[2]
    result = bias.copy()
    for back in range(taps):
        if t - back >= 0:
            result = result + kernel[:, 0, taps - 1 - back] * value[t - back]
    return result


def hidden(
    p,
    items,
    *,
    heads,
    layers,
    form="causal",
    rotation=True,
    rotation_per_head=False,
    local_branch=True,
    gate=True,
    learned_positions=0,
    gaps=None,
):
    """The hidden states [T, D] of one history of item ids, without dropout; `p` maps parameters' names to arrays.

    gaps: the bucket of each event's gap, None for a model that reads none.
    """
    x, bands = [], heads if rotation_per_head else 1
    for t, item in enumerate(items):
        embedded = p["embedding.weight"][item]
        if learned_positions:
            embedded = embedded + p["positions.weight"][min(t, learned_positions - 1)]
        if gaps is not None:
            embedded = embedded + p["gaps.weight"][gaps[t]]
        x.append(layer_norm(embedded, p["norm.weight"], p["norm.bias"]))
    x = np.array(x)
    for layer in range(layers):
        b = f"blocks.{layer}."
        norm = p[b + "attention_norm.weight"], p[b + "attention_norm.bias"]
        normed = np.array([layer_norm(row, *norm) for row in x])
        x = x + attention(normed, p, b + "attention.", heads, form, rotation, local_branch, gate, bands)
        for t in range(len(x)):
            inner = layer_norm(x[t], p[b + "feed_forward_norm.weight"], p[b + "feed_forward_norm.bias"])
            inner = gelu(p[b + "feed_forward.up.weight"] @ inner + p[b + "feed_forward.up.bias"])
            x[t] = x[t] + p[b + "feed_forward.down.weight"] @ inner + p[b + "feed_forward.down.bias"]
    return x


def half_octave(number):
    """How many times the square root of 2 goes into a whole number from 1 up: the square's octave, in integers."""
    octaves = 0
    while number * number >= 2 ** (octaves + 1):
        octaves += 1
    return octaves


def raised(p, history, item):
    """What an item's score is raised by after a history: 0 where the history lacks it."""
    count, age = 0, 0
    for place, other in enumerate(history):
        if other == item:
            count, age = count + 1, len(history) - place
    if count == 0:
        return 0.0
    by_count, by_age = p["repeats.by_count"], p["repeats.by_age"]
    bucket_of_count = min(half_octave(count), len(by_count) - 1)
    return by_count[bucket_of_count] + by_age[min(half_octave(age), len(by_age) - 1)]


def scores(p, state, history=None):
    """Score of every item 1..N for one hidden state [D]: tied weights, padding left out.

    history: what was met, where the model has a bias for that. A model with classes of the next gap gives the
    logarithm of each item's probability, summed over classes.
    """
    table = p["embedding.weight"]
    bias = [0.0 if history is None else raised(p, history, item) for item in range(1, len(table))]
    if "item_bias.weight" in p:
        bias = [bias[item - 1] + p["item_bias.weight"][item, 0] for item in range(1, len(table))]
    if "next_gap.when" not in p:
        return np.array([state @ row for row in table[1:]]) + bias
    whens = np.exp([row @ state for row in p["next_gap.when"]])
    probabilities = np.zeros(len(table) - 1)
    for when, mapping in zip(whens, p["next_gap.maps"], strict=True):
        mapped = state + mapping @ state
        odds = np.exp([mapped @ table[item] + bias[item - 1] for item in range(1, len(table))])
        probabilities += when / whens.sum() * odds / odds.sum()
    return np.log(probabilities)
