"""Steps made on the device are the plan's steps, bit for bit."""

import numpy as np
import pytest
import torch
from training_cases import cyclic_sequences

from grela.training.resident import ResidentWindows
from grela.training.sequences import TrainingSequences
from grela.training.windows import WindowPlan


def long_and_short() -> TrainingSequences:
    """Histories of 1 to 900 events, one without any target among them, not lying in their order."""
    rng = np.random.default_rng(3)
    lengths = np.array([5, 1, 900, 2, 33, 64, 65, 500, 17, 2, 2, 300, 700, 40])
    end = np.cumsum(lengths)
    items = rng.integers(1, 50, end[-1]).astype(np.int32)
    order = rng.permutation(len(lengths))
    return TrainingSequences(items, (end - lengths)[order], end[order])


PLANS = [
    (cyclic_sequences(), 8, 64),  # one row a step
    (long_and_short(), 64, 128),
    (long_and_short(), 16, 1024),  # two rows a step, several windows a history
    (long_and_short(), 600, 600),  # windows longer than most histories
]


@pytest.mark.parametrize(("sequences", "window", "batch"), PLANS)
def test_full_steps_equal_the_plans(sequences, window, batch, device):
    plan = WindowPlan(sequences, window, batch, seed=4)
    resident = ResidentWindows(plan, device)
    seen = 0
    for epoch in (0, 1, 0):
        for step, expected in zip(resident.epoch(epoch), plan.epoch(epoch), strict=True):
            assert step.events == expected.events
            if not step.full:
                continue
            seen += 1
            found = resident.tensors(torch.tensor(step.number, device=device))
            for name in ("items", "segments", "positions"):
                assert torch.equal(
                    getattr(found, name).cpu(), torch.cat([getattr(r, name) for r in expected.rows])
                )
            assert torch.equal(found.targets.cpu(), torch.stack([r.targets for r in expected.rows]))
    assert seen >= 3


def test_steps_can_be_skipped_and_counted():
    plan = WindowPlan(long_and_short(), 64, 128, seed=0)
    resident = ResidentWindows(plan, torch.device("cpu"))
    steps = list(resident.epoch(2))
    assert len(steps) == resident.steps(2) == plan.steps(2)
    assert [s.number for s in resident.epoch(2, skip=3)] == [s.number for s in steps[3:]]
    assert [s.full for s in steps[:-1]] == [True] * (len(steps) - 1)
    assert sum(s.events for s in steps) == resident.positions == sum(s.events for s in plan.epoch(2))


def test_rows_of_a_step_are_the_plans():
    plan = WindowPlan(long_and_short(), 64, 128, seed=0)
    last = list(ResidentWindows(plan, torch.device("cpu")).epoch(0))[-1]
    expected = list(plan.epoch(0))[-1]
    assert len(last.rows) == len(expected.rows)
    for row, other in zip(last.rows, expected.rows, strict=True):
        assert torch.equal(row.items, other.items)
        assert torch.equal(row.targets, other.targets)
