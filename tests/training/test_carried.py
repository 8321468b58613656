"""A history read in pieces from a carried state is the history read in one pass, in memory that does not grow."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from training_cases import Ear, assert_same_weights, make_training

from grela.errors import CheckpointError, TrainingError
from grela.models.recgrela import RecGRELA, RecGRELAConfig, State
from grela.ops.gaps import BUCKETS
from grela.ops.losses.targets import SeenItems, Targets
from grela.ops.repeats import met_before
from grela.training import streams
from grela.training.carried import carried_tensors, detached, restored_states
from grela.training.checkpoint import CURRENT
from grela.training.objective import row_loss
from grela.training.sequences import TrainingSequences
from grela.training.streams import StreamPlan

HERE = Path(__file__).parent
CONFIG = RecGRELAConfig(num_items=50, width=16, heads=2, layers=2, dropout=0.0, drop_path=0.0)


def model_of(config: RecGRELAConfig = CONFIG) -> RecGRELA:
    """Weights so large that each layer contributes, as after a training."""
    model = RecGRELA(config, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model


def one_history(events: int) -> TrainingSequences:
    rng = np.random.default_rng(1)
    items = rng.integers(1, 51, events).astype(np.int32)
    gaps = rng.integers(BUCKETS, size=events).astype(np.uint8)
    return TrainingSequences(items, np.array([0]), np.array([events]), gaps)


def in_one_pass(model: RecGRELA, s: TrainingSequences, low: int, high: int) -> tuple[torch.Tensor, State]:
    """Hidden states [T, D] of events low..high-1, and their state."""
    at = np.arange(low, high)
    row, gaps = s.items_at(at).unsqueeze(0), s.gaps_at(at)
    positions = torch.arange(len(at)).unsqueeze(0)
    hidden, state = model(row, torch.zeros_like(row), positions, gaps=gaps.unsqueeze(0))
    return hidden[0], state


def losses_of(
    model: RecGRELA, hidden: torch.Tensor, s: TrainingSequences, at: np.ndarray, begin: int
) -> np.ndarray:
    """The loss of each of the events [P] of one history, all but its first, [P].

    -log p(class of its gap) - log p(item | class), and its share of -log p(the item after | ...).
    """
    classes = model.next_gap.class_of[s.gaps_at(at)]
    of_classes = -model.next_gap.log_probabilities(hidden)[torch.arange(len(at)), classes]
    of_items = of_targets(model, model.next_gap.mapped(hidden, classes), s, at, begin)
    of_after = of_targets(model, model.after_next.mapped(hidden[:-1]), s, at[1:], begin)
    of_after = torch.cat((of_after, torch.zeros(1)))
    return (of_classes + of_items + model.config.after_next * of_after).numpy()


def of_targets(
    model: RecGRELA, hidden: torch.Tensor, s: TrainingSequences, at: np.ndarray, begin: int
) -> torch.Tensor:
    """The cross-entropy of each of the events [P], scored by hidden states [P, D]."""
    end = torch.from_numpy(at)
    seen = SeenItems(torch.from_numpy(s.items), torch.full_like(end, begin), end)
    logits = hidden @ model.item_weights.T + model.item_bias.of_items
    model.repeats.raise_met(logits, met_before(seen, 0, len(at), model.config.num_items))
    return torch.nn.functional.cross_entropy(logits, s.items_at(at) - 1, reduction="none")


def mean_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, targets: Targets, rng: torch.Generator
) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(hidden @ weight[1:].T, targets.items - 1)


@pytest.mark.parametrize(("dtype", "size", "tolerance"), [("float32", 2048, 1e-6), ("float64", 2000, 1e-13)])
@torch.no_grad()
def test_100_000_events_in_carried_steps_are_one_long_pass(dtype, size, tolerance):
    model, s = model_of().to(getattr(torch, dtype)), one_history(100_001)
    long, last = in_one_pass(model, s, 0, 100_000)
    state = None
    for number, step in enumerate(StreamPlan(s, size, size, 0).epoch(0)):
        (row,) = step.rows
        assert row.continues == (number > 0)
        hidden, state = model(row.items, row.segments, row.positions, state, gaps=row.gaps)
        expected = long[number * size : (number + 1) * size]
        assert (hidden[0] - expected).abs().max() <= tolerance * expected.abs().max()
    assert not row.unfinished
    found = carried_tensors({0: state})
    for name, expected in carried_tensors({0: last}).items():
        assert (found[name] - expected).abs().max() <= tolerance * expected.abs().max()
        # The state is of one size, however many events it has seen.
        assert found[name].shape == carried_tensors({0: model.empty_state(1)})[name].shape


# The compiled kernels know heads that are 16 wide, and not those that are 8.
@pytest.mark.parametrize("width", [16, 32])
def test_a_training_that_changes_no_weight_tells_the_losses_of_one_long_pass(monkeypatch, width):
    monkeypatch.setattr(streams, "LEAST_POSITIONS", 8)
    ear, still = Ear(), {"learning_rate": 1e-30, "weight_decay": 0.0, "validate": None}
    training = make_training(None, histories="carried", epochs=2, width=width, listener=ear, **still)
    training.model.config = replace(training.model.config, dropout=0.0)
    for block in training.model.each_block():
        block.drop_path = block.feed_forward.rate = 0.0
    s, expected = training.plan.sequences, []
    losses = np.zeros(len(s.items))  # of the event at each place, as a target
    with torch.no_grad():
        for low, high in zip(s.start, s.end, strict=True):
            hidden, _ = in_one_pass(training.model, s, low, high - 1)
            after = np.arange(low + 1, high)
            losses[after] = losses_of(training.model, hidden, s, after, low)
    cut = 0
    for epoch in range(2):
        for step in training.plan.epoch(epoch):
            places = np.concatenate([row.seen.end.numpy() for row in step.rows])
            expected.append(losses[places].mean())
            cut += sum(row.continues for row in step.rows)
    training.run()
    assert cut > 10
    assert [report.loss for report in ear.steps] == pytest.approx(expected, rel=1e-5)


def test_gradients_stop_at_the_border_of_a_step():
    model, s = (
        model_of(replace(CONFIG, repeats=False, item_bias=False, next_gaps=0, after_next=0.0)),
        one_history(61),
    )
    rng = torch.Generator()
    first, second = (step.rows[0] for step in StreamPlan(s, 30, 30, 0).epoch(0))
    _, left = row_loss(model, first, rng, loss=mean_cross_entropy, dtype=torch.float32)
    assert not any(x.requires_grad for x in carried_tensors({0: left}).values())
    loss, none_left = row_loss(model, second, rng, loss=mean_cross_entropy, dtype=torch.float32, state=left)
    assert none_left is None
    truncated = torch.autograd.grad(loss, list(model.parameters()))

    def gradients(cut) -> tuple[torch.Tensor, ...]:
        _, state = model(first.items, first.segments, first.positions, gaps=first.gaps)
        hidden, _ = model(second.items, second.segments, second.positions, cut(state), gaps=second.gaps)
        loss = torch.nn.functional.cross_entropy(model.scores(hidden[0]), second.targets - 1)
        return torch.autograd.grad(loss, list(model.parameters()))

    for found, expected in zip(truncated, gradients(detached), strict=True):
        torch.testing.assert_close(found, expected)
    # The whole gradient is another one: the test could tell.
    whole = gradients(lambda state: state)
    assert max((a - b).abs().max() / b.abs().max() for a, b in zip(truncated, whole, strict=True)) > 0.01


def test_a_row_that_goes_on_from_nothing_is_refused():
    training = make_training(None, histories="carried")
    steps = training.plan.epoch(0)
    following = next(step for step in steps if step.rows[0].continues)
    with pytest.raises(TrainingError, match="no step has left its state"):
        training.one_step(following)


def test_a_checkpoint_amid_histories_holds_their_states(tmp_path, monkeypatch):
    """And `test_resume` shows that they are what an unbroken training carries on with."""
    monkeypatch.setattr(streams, "LEAST_POSITIONS", 8)
    seen = []

    def look(report) -> None:
        if (tmp_path / CURRENT).exists():
            with safe_open(tmp_path / CURRENT, "pt") as file:
                seen.append({name.split("/")[1] for name in file.keys() if name.startswith("carried/")})  # noqa: SIM118

    training = make_training(tmp_path, histories="carried", epochs=2, listener=Ear(look))
    expected = [
        {str(r) for r, row in enumerate(step.rows) if row.unfinished}
        for epoch in range(2)
        for step in training.plan.epoch(epoch)
    ]
    training.run()
    assert seen == expected[:-1]
    assert {len(numbers) for numbers in seen} >= {0, 4}


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, local_branch=False), replace(CONFIG, taps=1)])
def test_states_come_back_from_their_names_bit_by_bit(config):
    model = model_of(config)
    with torch.no_grad():
        states = {n: in_one_pass(model, one_history(9 + n), 0, 9 + n)[1] for n in (0, 2, 13)}
    found = restored_states(carried_tensors(states), like=model.empty_state(1))
    assert found.keys() == states.keys()
    assert_same_weights(carried_tensors(found), carried_tensors(states))
    assert restored_states({}, like=model.empty_state(1)) == {}


@pytest.mark.parametrize(
    ("other", "name"), [({"heads": 4}, "0/0/S"), ({"layers": 1}, "0/1/S"), ({"taps": 3}, "0/0/tail")]
)
def test_another_models_states_are_refused(other, name):
    states = carried_tensors({0: model_of().empty_state(1)})
    with pytest.raises(CheckpointError, match=rf"another model's states: {name} is \["):
        restored_states(states, like=model_of(replace(CONFIG, **other)).empty_state(1))


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(streams, "LEAST_POSITIONS", 8)
    found = []
    for threads in (1, 3):
        training = make_training(None, histories="carried", epochs=2)
        training.threads = threads
        assert len(next(training.plan.epoch(0)).rows) == 4
        training.run()
        found.append(training.model.state_dict())
    assert_same_weights(found[1], found[0])


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux tells it")
def test_memory_does_not_grow_with_the_history():
    """A process's peak after 5,000 and 100,000 events in steps of 2,048, and after 60,000 in one long pass."""
    said = subprocess.run(
        [sys.executable, str(HERE / "peak_script.py")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ).stdout
    short, long, one_pass = map(int, said.split())
    assert long - short < 8_000_000
    assert one_pass - long > 100_000_000
