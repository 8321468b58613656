"""A loss is told what was seen by the device's copy of the log; rows have it on the host."""

import torch
from training_cases import cyclic_sequences, make_training

from grela.ops.losses.targets import Targets
from grela.training.losses import with_log_on


def test_what_was_seen_is_the_same_and_lies_on_the_device(device):
    sequences, told = cyclic_sequences(), []
    row = next(make_training(None).plan.epoch(0)).rows[0]

    def loss(hidden, weight, targets, rng):
        told.append(targets)
        return hidden.sum()

    hidden = torch.ones(2, 3)
    given = with_log_on(device, sequences, loss)
    for targets in (Targets(row.targets, row.seen), Targets(row.targets)):
        assert given(hidden, hidden, targets, torch.Generator()) == 6
    seen = told[0].seen
    assert {x.device.type for x in (seen.history, seen.start, seen.end)} == {device.type}
    for found, expected in zip(seen.pairs(0, 5), row.seen.pairs(0, 5), strict=True):
        assert torch.equal(found.cpu(), expected)
    assert told[0].items is row.targets
    assert told[1].seen is None
