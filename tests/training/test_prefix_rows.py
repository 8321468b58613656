"""Rows of packed prefixes are the padded prefixes: the same loss and gradients, whatever rows and threads."""

from itertools import islice

import numpy as np
import pytest
import torch
from training_cases import ITEMS, assert_same_weights, cyclic_sequences, make_training

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.nn.block import PACKED
from grela.nn.compiled_packed_block import COMPILED_PACKED
from grela.ops.losses.softmax import naive_softmax
from grela.training import prefixes
from grela.training.objective import row_loss
from grela.training.prefixes import PrefixPlan, PrefixStep


def loss_and_gradients(model: RecGRELA, rows, events: int, packed=PACKED) -> list[torch.Tensor]:
    """The mean loss over all targets of the rows, and its gradients by the parameters."""
    rng = torch.Generator()
    loss = sum(
        row_loss(model, row, rng, loss=naive_softmax, dtype=torch.float32, packed=packed)[0]
        * (row.events / events)
        for row in rows
    )
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("least", [10, 10_000])
@pytest.mark.parametrize("packed", [PACKED, COMPILED_PACKED], ids=["torch", "compiled"])
def test_the_rows_of_a_step_are_its_samples_padded(packed, least, monkeypatch, request):
    if packed is COMPILED_PACKED:
        request.getfixturevalue("kernels")
    monkeypatch.setattr(prefixes, "LEAST_POSITIONS", least)
    config = RecGRELAConfig(
        num_items=ITEMS, form="bidirectional", width=32, heads=2, layers=3, dropout=0.0, drop_path=0.0
    )
    model = RecGRELA(config, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    s = cyclic_sequences()
    step = next(PrefixPlan(s, 8, 120, 0).epoch(0))
    assert len(step.rows) == (4 if least == 10 else 1)
    begin = np.concatenate([row.seen.start for row in step.rows])
    start = np.concatenate([row.seen.end - row.lengths for row in step.rows])
    length = np.concatenate([row.lengths for row in step.rows])
    padded = PrefixStep(s, begin, start, length)
    assert padded.events == step.events
    found = loss_and_gradients(model, step.rows, step.events, packed)
    expected = loss_and_gradients(model, [padded], step.events)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_number_of_threads_does_not_change_a_bit(monkeypatch, precision):
    monkeypatch.setattr(prefixes, "LEAST_POSITIONS", 8)
    found = []
    for threads in (1, 3):
        # Heads 16 wide: compiled, where that can be had.
        training = make_training(None, form="bidirectional", precision=precision, width=32)
        training.threads = threads
        for step in islice(training.plan.epoch(0), 4):
            assert len(step.rows) == 4
            training.one_step(step)
        found.append(training.model.state_dict())
    assert_same_weights(found[1], found[0])
