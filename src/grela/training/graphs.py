"""A full training step as one computation of fixed shapes, and that computation captured as a CUDA graph.

Launching its several hundred kernels one by one takes longer than computing them; a graph launches them at once.
What changes from step to step lies in tensors that the graph reads: the step's number, the learning rate, and
the seed and offset of a generator that the graph knows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from grela.models.forms import ChosenForm
from grela.models.recgrela import RecGRELA
from grela.nn.block import BlockForm
from grela.ops.losses.softmax import block_of
from grela.ops.losses.targets import Loss, Targets
from grela.training.config import TrainingConfig
from grela.training.optimiser import clip_gradients, give_gradients
from grela.training.resident import ResidentStep, ResidentWindows
from grela.training.sequences import Plan
from grela.training.windows import WindowPlan

# Steps computed one kernel at a time before the capture: kernels compile and optimisers make their state in them.
STEPS_BEFORE_CAPTURE = 3


class WholeStep:
    """A full step of resident windows: loss, gradients, clipping, update; without a word from the host.

    `form` and `loss` must have no shape that depends on what is in a tensor. All rows share one generator.
    """

    def __init__(
        self,
        model: RecGRELA,
        windows: ResidentWindows,
        optimisers: Sequence[torch.optim.Optimizer],
        *,
        form: BlockForm,
        loss: Loss,
        dtype: torch.dtype,
        clip_norm: float,
    ) -> None:
        self.model, self.windows, self.optimisers = model, windows, optimisers
        self.form, self.loss, self.dtype, self.clip_norm = form, loss, dtype, clip_norm
        self.parameters = list(model.parameters())
        device = model.embedding.weight.device
        self.number = torch.zeros((), dtype=torch.int64, device=device)
        self.rng = torch.Generator(device)

    def compute(self) -> Tensor:
        """Take the step that `number` says, drawing from `rng`; returns its mean loss."""
        step = self.windows.tensors(self.number)
        with torch.autocast(self.number.device.type, self.dtype, enabled=self.dtype != torch.float32):
            hidden, _ = self.model(step.items, step.segments, step.positions, None, self.rng, self.form)
        targets = Targets(step.targets.flatten())
        loss = self.loss(hidden.flatten(0, 1).to(self.dtype), self.model.embedding.weight, targets, self.rng)
        gradients = torch.autograd.grad(loss, self.parameters)
        give_gradients(self.parameters, gradients)
        clip_gradients(self.parameters, self.clip_norm)
        for optimiser in self.optimisers:
            optimiser.step()
        return loss.detach()


class CapturedSteps:
    """A `WholeStep` computed as it is at first, and by replays of one CUDA graph from then on."""

    def __init__(self, whole: WholeStep) -> None:
        self.whole = whole
        device = whole.number.device
        self.rate = torch.zeros((), dtype=torch.float32, device=device)
        # All on one stream of its own, as a capture may not be on the default one.
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.loss = torch.zeros((), device=device)
        self.done = 0

    @property
    def windows(self) -> ResidentWindows:
        """The plan whose steps these are."""
        return self.whole.windows

    def take(self, step: ResidentStep, *, rate: float, seed: int) -> float:
        """One optimiser step at learning rate `rate`, dropout drawn from `seed`; returns its loss in nats per event."""
        self.stream.wait_stream(torch.cuda.current_stream(self.rate.device))
        with torch.cuda.stream(self.stream):
            self.whole.number.fill_(step.number)
            self.rate.fill_(rate)
            self.whole.rng.manual_seed(seed)
            loss = self._as_it_is() if self.done < STEPS_BEFORE_CAPTURE else self._replayed()
            value = loss.item()
        torch.cuda.current_stream(self.rate.device).wait_stream(self.stream)
        self.done += 1
        return value

    def _as_it_is(self) -> Tensor:
        with self._rate_in_a_tensor(capturable=False):
            return self.whole.compute()

    def _replayed(self) -> Tensor:
        if self.graph is None:
            self.graph = self._capture()
        self.graph.replay()
        return self.loss

    def _capture(self) -> torch.cuda.CUDAGraph:
        """The graph of one step; nothing is computed, but the gradients of the step before are let go."""
        graph = torch.cuda.CUDAGraph()
        # What the generator draws in the graph starts anew from its seed at each replay.
        graph.register_generator_state(self.whole.rng)
        for parameter in self.whole.parameters:
            parameter.grad = None
        with self._rate_in_a_tensor(capturable=True), torch.cuda.graph(graph, stream=self.stream):
            self.loss = self.whole.compute()
        return graph

    @contextmanager
    def _rate_in_a_tensor(self, *, capturable: bool) -> Iterator[None]:
        """The optimisers read the rate from the device within, with or without a graph, so that its bits are the same.

        They are `capturable` only while captured: they warn of it at any other time.
        """
        before = [(group["lr"], group.get("capturable", False)) for group in self._groups()]
        for group in self._groups():
            group["lr"], group["capturable"] = self.rate, capturable
        try:
            yield
        finally:
            for group, (rate, was_capturable) in zip(self._groups(), before, strict=True):
                group["lr"], group["capturable"] = rate, was_capturable

    def _groups(self) -> Iterator[dict[str, object]]:
        return (group for optimiser in self.whole.optimisers for group in optimiser.param_groups)


def captured_steps(
    model: RecGRELA,
    plan: Plan,
    config: TrainingConfig,
    optimisers: Sequence[torch.optim.Optimizer],
    *,
    form: ChosenForm,
    loss: Loss,
    dtype: torch.dtype,
) -> CapturedSteps | None:
    """Captured steps of `plan`; None where shapes are not fixed, or gaps would have to be read.

    Not fixed are those of other plans, losses or blocks, of a model with biases, `next_gaps` or `after_next`,
    and of a huge catalogue.
    """
    if form.name != "triton" or config.loss != "softmax" or not isinstance(plan, WindowPlan):
        return None
    ours = (model.gaps, model.repeats, model.next_gap, model.item_bias, model.after_next)
    if any(part is not None for part in ours):
        return None
    items = model.config.num_items
    if block_of(items, dtype.itemsize, model.embedding.weight.device).items < items:
        return None
    windows = ResidentWindows(plan, model.embedding.weight.device)
    whole = WholeStep(
        model, windows, optimisers, form=form.block, loss=loss, dtype=dtype, clip_norm=config.clip_norm
    )
    return CapturedSteps(whole)
