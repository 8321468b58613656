"""A whole step on resident data is the loop's step; a captured one is one computed as it is, bit for bit."""

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training_cases import PAPER, assert_same_weights, make_training

from grela.training.graphs import STEPS_BEFORE_CAPTURE, CapturedSteps, WholeStep, captured_steps
from grela.training.optimiser import learning_rate
from grela.training.resident import ResidentWindows


def whole_step(training) -> tuple[ResidentWindows, WholeStep]:
    plan = training.plan.plan if isinstance(training.plan, ResidentWindows) else training.plan
    windows = ResidentWindows(plan, training.model.embedding.weight.device)
    whole = WholeStep(
        training.model,
        windows,
        training.optimisers,
        form=training.form.block,
        loss=training.loss,
        dtype=training.dtype,
        clip_norm=training.config.clip_norm,
    )
    return windows, whole


def without_dropout(training):
    """The same training in which no generator is used: nothing is dropped."""
    for block in training.model.each_block():
        block.drop_path = block.feed_forward.rate = 0.0
    object.__setattr__(training.model.config, "dropout", 0.0)
    return training


@pytest.mark.parametrize(("window", "batch_positions"), [(8, 64), (8, 1024)])
def test_a_whole_step_is_the_loops_step(window, batch_positions, device):
    """One row a step, and two rows in one computation: the loss and the weights after three steps."""
    settings = {"window": window, "batch_positions": batch_positions, "device": device, "kernels": "torch"}
    settings["parts"] = PAPER
    by_loop, by_whole = (without_dropout(make_training(None, **settings)) for _ in range(2))
    windows, whole = whole_step(by_whole)
    taken = 0
    for step in windows.epoch(0):
        if not step.full:
            continue
        loss = by_loop.one_step(step)
        for group in by_whole.optimisers[0].param_groups:
            group["lr"] = learning_rate(by_whole.config, by_loop.progress.step, by_loop.total_steps)
        whole.number.fill_(step.number)
        assert whole.compute().item() == pytest.approx(loss, rel=1e-5)
        by_loop.progress.step += 1
        taken += 1
    assert taken == windows.positions // (windows.capacity * windows.plan.rows)
    for found, expected in zip(by_whole.model.parameters(), by_loop.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device to capture a graph on")
def test_captured_steps_are_those_computed_as_they_are_bit_for_bit():
    """Rate, seed and step change from replay to replay; dropout and drop path are on, blocks are Triton's."""
    pytest.importorskip("triton", reason="Triton is not installed")

    def weights(capture: bool):
        training = make_training(None, device="cuda", kernels="triton", parts=PAPER)
        windows, whole = whole_step(training)
        steps = CapturedSteps(whole)
        losses = []
        for epoch in range(3):
            for step in windows.epoch(epoch):
                if step.full:
                    if not capture:
                        steps.done = 0
                    losses.append(steps.take(step, rate=1e-3 / (1 + len(losses)), seed=len(losses)))
        assert len(losses) > STEPS_BEFORE_CAPTURE + 3
        assert (steps.graph is not None) == capture
        assert all(math.isfinite(loss) for loss in losses)
        return training.model.state_dict(), losses

    (captured, captured_losses), (plain, plain_losses) = weights(True), weights(False)
    assert captured_losses == plain_losses
    assert_same_weights(captured, plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device to capture a graph on")
def test_training_on_cuda_captures_its_steps_and_learns():
    """Each history counts upward: the loss must fall far below that of a guess among all items."""
    pytest.importorskip("triton", reason="Triton is not installed")
    training = make_training(None, device="cuda", kernels="triton", parts=PAPER, epochs=30)
    progress = training.run()
    assert training.captured is not None
    assert training.captured.graph is not None
    assert progress.epochs[-1]["loss"] < 0.5 * math.log(23)


def test_nothing_is_captured_on_a_cpu():
    training = make_training(None)
    assert training.captured is None


@pytest.mark.parametrize(
    ("name", "items", "loss"),
    [("torch", 23, "softmax"), ("triton", 23, "softmax_without_seen"), ("triton", 10**6, "softmax")],
)
def test_steps_without_fixed_shapes_are_not_captured(name, items, loss):
    training = make_training(None, loss=loss)
    parts = {"gaps": None, "repeats": None, "item_bias": None, "next_gap": None, "after_next": None}
    parts["embedding"] = training.model.embedding
    model = SimpleNamespace(config=SimpleNamespace(num_items=items), **parts)
    form = replace(training.form, name=name)
    rest = {"form": form, "loss": training.loss, "dtype": torch.float32}
    assert captured_steps(model, training.plan, training.config, training.optimisers, **rest) is None


@pytest.mark.parametrize("part", ["gaps", "repeats", "item_bias", "next_gaps", "after_next"])
def test_steps_of_models_with_our_parts_are_not_captured(part):
    training = make_training(None, parts=PAPER | {part: 4})
    rest = {"form": replace(training.form, name="triton"), "loss": training.loss, "dtype": torch.float32}
    found = captured_steps(training.model, training.plan, training.config, training.optimisers, **rest)
    assert found is None


# What waits for the device to learn a number or a shape from it, and so cannot be captured.
WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "repeat_interleave",
    "_unique2",
    "unique_consecutive",
    "equal",
    "is_nonzero",
}


class Waits(TorchDispatchMode):
    """Notes the operators that would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in WAITS:
            self.found.append(str(func))
        return func(*args, **kwargs or {})


class NoLaunch:
    """In place of a kernel: its launch does nothing, so that results are what memory held."""

    def __getitem__(self, grid):
        return lambda *args, **options: None


def test_a_whole_step_by_triton_waits_for_nothing(monkeypatch):
    """All that a graph would hold: tensors of the step, forward, loss, backward, clipping, update."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from grela.nn.triton_block import triton_block
    from grela.ops.triton import attention, features, gated_conv, softmax

    for module in (attention, features, gated_conv, softmax):
        monkeypatch.setattr(module, "on_device_of", lambda x: nullcontext())
        for name in [name for name in vars(module.kernels) if name.endswith("_kernel")]:
            monkeypatch.setattr(module.kernels, name, NoLaunch())
    # On a GPU no position is looked at on the way to its turn.
    monkeypatch.setattr("grela.ops.rotary._in_table", lambda positions: False)
    training = make_training(None, kernels="torch", precision="bf16", parts=PAPER)
    windows, eager = whole_step(training)
    list(windows.epoch(0))
    with Waits() as waits:
        eager.compute()
    assert waits.found  # the eager block's drop path asks how many histories there are
    eager.form, eager.loss = triton_block, partial(training.loss, loss_and_gradient=softmax.triton_softmax)
    with Waits() as waits:
        eager.compute()
    assert waits.found == []
