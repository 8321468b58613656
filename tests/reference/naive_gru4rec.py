"""GRU4Rec in float64 loops over numpy: one history. It shares no code with `grela`, only names of parameters."""

import numpy as np

from reference.naive_recgrela import sigmoid


def gru(x, p, layer):
    """h [T, H] of one layer that begins with zeros; rows of its matrices are reset, update and candidate."""
    W, U = p[f"gru.weight_ih_l{layer}"], p[f"gru.weight_hh_l{layer}"]
    b, c = p[f"gru.bias_ih_l{layer}"], p[f"gru.bias_hh_l{layer}"]
    width = U.shape[1]
    h, states = np.zeros(width), []
    for event in x:
        reset, update, candidate = ((W @ event + b)[k * width : (k + 1) * width] for k in range(3))
        from_reset, from_update, from_candidate = ((U @ h + c)[k * width : (k + 1) * width] for k in range(3))
        r, z = sigmoid(reset + from_reset), sigmoid(update + from_update)
        h = z * h + (1 - z) * np.tanh(candidate + r * from_candidate)
        states.append(h)
    return np.array(states)


def hidden(p, items, *, layers):
    """The hidden states [T, D] of one history of item ids, without dropout; `p` maps names to arrays."""
    x = np.array([p["embedding.weight"][item] for item in items])
    for layer in range(layers):
        x = gru(x, p, layer)
    if "out.weight" not in p:
        return x
    return np.array([p["out.weight"] @ h + p["out.bias"] for h in x])
