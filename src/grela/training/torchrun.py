"""Ranks that `torchrun` has started: gloo on CPUs, NCCL on GPUs, one machine or several."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from grela.errors import RanksError
from grela.training.checkpoint import Checkpoint
from grela.training.collectives import Collectives, described, in_order
from grela.training.meeting import meet
from grela.training.ranks import ALONE, Gradient, Ranks, RowResult

T = TypeVar("T")

LAUNCHED = "TORCHELASTIC_RUN_ID"
PATIENCE = timedelta(minutes=30)


class Torchrun:
    """A `Ranks` of the process group; row r of a step is rank r mod W's."""

    together = True

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.talk = Collectives(device)

    @property
    def first(self) -> bool:
        """As of every `Ranks`."""
        return self.talk.rank == 0

    @property
    def size(self) -> int:
        """As of every `Ranks`."""
        return self.talk.size

    def mine(self, rows: Sequence[T]) -> list[tuple[int, T]]:
        """Every W-th row."""
        return [(number, rows[number]) for number in range(self.talk.rank, len(rows), self.size)]

    def part(self, count: int) -> slice:
        """As equal as can be."""
        low, high = (count * rank // self.size for rank in (self.talk.rank, self.talk.rank + 1))
        return slice(low, high)

    def step(
        self, mine: Sequence[RowResult], gradients: Sequence[Gradient], rows: int
    ) -> tuple[float, list[Tensor]]:
        """As of every `Ranks`, with the bits of one rank."""
        none = [0.0] * (-(-rows // self.size) - len(mine))
        losses = self.talk.alike(torch.tensor([*(row.loss for row in mine), *none], dtype=torch.float64))
        loss = sum(in_order([part.tolist() for part in losses], rows))
        dense = [place for place, gradient in enumerate(gradients) if not gradient.sparse]
        sizes = [gradients[place].shape.numel() for place in dense]
        vectors = [torch.cat([row.gradients[place].reshape(-1) for place in dense]) for row in mine]
        summed = self.talk.ordered_sum(vectors, sum(sizes), rows).split(sizes)
        found = {place: part.view(gradients[place].shape) for place, part in zip(dense, summed, strict=True)}
        for place, gradient in enumerate(gradients):
            if gradient.sparse:
                parts = [row.gradients[place] for row in mine]
                found[place] = self.talk.ordered_rows(parts, gradient.shape, rows)
        return loss, [found[place] for place in range(len(gradients))]

    def agreed(self, wish: bool) -> bool:
        """As of every `Ranks`."""
        return bool(self.talk.from_first(torch.tensor([wish])))

    def from_first(self, value: T) -> T:
        """As of every `Ranks`."""
        return cast(T, self.talk.json_from_first(value))

    def all_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As of every `Ranks`."""
        names = self.from_first(sorted(values))
        mine = [
            torch.from_numpy(values[name]).double() if values else torch.zeros(0).double() for name in names
        ]
        return {
            name: torch.cat(self.talk.gathered(part)).cpu().numpy()
            for name, part in zip(names, mine, strict=True)
        }

    def all_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As of every `Ranks`, on the CPU."""
        return self.talk.all_named(tensors)

    def shared(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """As of every `Ranks`: a folder that the others cannot see will do."""
        own = None if checkpoint is None else [described(checkpoint.tensors), dict(checkpoint.progress)]
        header = self.talk.json_from_first(own)
        if header is None:
            return None
        kinds, progress = header
        tensors = {
            name: self.talk.from_first(
                checkpoint.tensors[name] if checkpoint else torch.empty(shape, dtype=getattr(torch, kind))
            )
            for name, kind, shape in kinds
        }
        return Checkpoint(tensors, progress)

    def must_agree(self, facts: Mapping[str, Any]) -> None:
        """As of every `Ranks`."""
        first, *others = self.talk.all_json(dict(facts))
        for rank, theirs in enumerate(others, 1):
            for name in first | theirs:
                if first.get(name) != theirs.get(name):
                    raise RanksError(
                        f"{name} is {theirs.get(name)!r} on rank {rank}, but {first.get(name)!r} on rank 0: start "
                        "all ranks with the same command, settings, events and versions, on machines of one kind"
                    )


def command_of(command: Sequence[str], environ: Mapping[str, str] = os.environ) -> str:
    """What a person has typed, as near as can be told: `command`, or torchrun with it as a module."""
    if LAUNCHED not in environ:
        return shlex.join(command)
    each, size = int(environ["LOCAL_WORLD_SIZE"]), int(environ["WORLD_SIZE"])
    machines = ["--nnodes", str(size // each)] if size > each else []
    # Without the two dashes torchrun takes our --log for a short form of options of its own.
    return shlex.join(["torchrun", *machines, "--nproc-per-node", str(each), "-m", "--", *command])


@contextmanager
def ranks_of_torchrun(device: str, environ: Mapping[str, str] = os.environ) -> Iterator[Ranks]:
    """The ranks within which this process runs; `ALONE` where torchrun did not start it.

    device: "auto" (a GPU each where there are any), "cpu" or "cuda". RanksError where they cannot come together.
    """
    if LAUNCHED not in environ:
        yield ALONE
        return
    here = _device(device, *_places(environ))
    backend = "nccl" if here.type == "cuda" else "gloo"
    if not getattr(dist, f"is_{backend}_available")():
        raise RanksError(
            f"this build of torch has no {backend}, by which ranks on {here.type} talk: install one that has it, or "
            + ("use --device cpu" if backend == "nccl" else "train in one process, without torchrun")
        )
    try:
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        store = meet(store, rank, size, patience=PATIENCE)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RanksError(
            f"rank {environ['RANK']} cannot meet the others at {environ.get('MASTER_ADDR')}: {reason}. Start it by "
            "torchrun, with the same --nnodes and --rdzv-endpoint on every machine"
        ) from error
    try:
        yield Torchrun(here)
    finally:
        dist.destroy_process_group()


def _places(environ: Mapping[str, str]) -> tuple[int, int]:
    """This rank's number on its machine, and how many are there; RanksError where numbers make no sense."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        rank, size, local_rank, local_size = (int(environ[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise RanksError(
            f"{LAUNCHED} is set, but of {', '.join(names)} not all are numbers ({error}): start by torchrun, which "
            "sets them"
        ) from error
    if not 0 <= rank < size or not 0 <= local_rank < local_size <= size:
        raise RanksError(
            f"rank {rank} of {size} ({local_rank} of {local_size} on this machine) cannot be: start by torchrun, "
            "which numbers ranks from 0"
        )
    return local_rank, local_size


def _device(name: str, local_rank: int, local_size: int) -> torch.device:
    """The CPU, or the GPU of this rank."""
    gpus = torch.cuda.device_count() if name in ("auto", "cuda") and torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if local_size > gpus:
        raise RanksError(
            f"{local_size} ranks on this machine, but {gpus} GPUs that torch can use, and each rank needs one of its "
            f"own: give torchrun --nproc-per-node {max(gpus, 1)}, or grela --device cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
