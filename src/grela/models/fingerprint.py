"""What tells apart models whose states are not each other's.

A state depends on the blocks, the embeddings and the settings that shape them; it does not depend on what only scores
read: biases of items and of items met, classes of the next gap. An item added after training (`grela.models.new_items`)
changes no state of a history without it. So a model has a fingerprint for each catalogue that it has had: the first
of the items it was trained with, each further one with one more item. A state made under any of them is as it would
be made now.
"""

import hashlib
import json
from dataclasses import asdict

from grela.models.recgrela import RecGRELA
from grela.models.tensors import chunks

OF_SCORES = ("repeats.", "item_bias.", "next_gap.", "after_next.")
NOT_OF_STATES = (
    *("num_items", "added_items", "dropout", "drop_path"),
    *("repeats", "item_bias", "next_gaps", "after_next"),
)
TABLE = "embedding.weight"


def state_fingerprints(model: RecGRELA) -> list[str]:
    """SHA-256 of what states depend on, 64 hexadecimal digits: of the trained items, then one for each added item."""
    settings = {name: value for name, value in asdict(model.config).items() if name not in NOT_OF_STATES}
    settings["eps"] = model.each_block()[0].attention.eps
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    weights = model.state_dict()
    table = weights.pop(TABLE)
    for name, tensor in sorted(weights.items()):
        if name.startswith(OF_SCORES):
            continue
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        for chunk in chunks(tensor):
            digest.update(chunk)
    digest.update(f"\n{TABLE} {table.dtype} {table.shape[1]}\n".encode())
    trained = len(table) - model.config.added_items
    for chunk in chunks(table[:trained]):
        digest.update(chunk)
    found = [digest.hexdigest()]
    for row in table[trained:]:
        for chunk in chunks(row):
            digest.update(chunk)
        found.append(digest.hexdigest())
    return found
