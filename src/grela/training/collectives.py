"""What ranks do together, by `torch.distributed` alone: gather, broadcast, and sum in the order of rows.

A sum of floating-point numbers depends on its order, and an all-reduce adds in an order of its own. Here each rank
gets one piece of the gradients of every row, adds them in the order of the rows, and all gather the pieces: the bits
do not depend on the number of ranks. With one row a rank that moves as many bytes as a ring's all-reduce, with R rows
on W ranks (R / W + 1) / 2 times as many.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from grela.errors import RanksError

T = TypeVar("T")

# W ranks, R rows of a step, P numbers of a row's gradient


class Collectives:
    """The process group's ranks, which talk through tensors on `device`; RanksError where one of them has gone."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def alike(self, mine: Tensor) -> list[Tensor]:
        """Each rank's tensor, in the order of ranks; all have one shape."""
        sent = mine.to(self.device).contiguous()
        found = [torch.empty_like(sent) for _ in range(self.size)]
        if sent.numel():
            self._call(dist.all_gather, found, sent)
        return found

    def gathered(self, mine: Tensor) -> list[Tensor]:
        """Each rank's tensor, in the order of ranks; they may differ in their first dimension."""
        lengths = [int(n) for n in self.alike(torch.tensor([len(mine)]))]
        padded = mine.new_zeros(max(lengths), *mine.shape[1:])
        padded[: len(mine)] = mine
        found = self.alike(padded)
        return [part[:length] for part, length in zip(found, lengths, strict=True)]

    def from_first(self, tensor: Tensor) -> Tensor:
        """Rank 0's tensor; the others give one of the same shape and type."""
        return self.from_rank(0, tensor)

    def from_rank(self, owner: int, tensor: Tensor) -> Tensor:
        """The tensor of rank `owner`; the others give one of the same shape and type."""
        bytes_ = tensor.detach().contiguous().reshape(-1).view(torch.uint8).to(self.device)
        if len(bytes_):
            self._call(dist.broadcast, bytes_, owner)
        return bytes_.to(tensor.device).view(tensor.dtype).view(tensor.shape)

    def all_json(self, value: Any) -> list[Any]:
        """Each rank's value, of JSON's types."""
        return [json.loads(bytes(part.tolist())) for part in self.gathered(_encoded(value))]

    def json_from_first(self, value: Any) -> Any:
        """Rank 0's value, of JSON's types."""
        mine = _encoded(value) if self.rank == 0 else torch.zeros(0, dtype=torch.uint8)
        length = int(self.from_first(torch.tensor([len(mine)])))
        text = self.from_first(mine if self.rank == 0 else torch.zeros(length, dtype=torch.uint8))
        return json.loads(bytes(text.tolist()))

    def all_named(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of all ranks, which name different ones, on the CPU."""
        headers = self.all_json(described(tensors))
        flat = torch.cat([torch.zeros(0, dtype=torch.uint8), *(_bytes(x) for x in tensors.values())])
        found: dict[str, Tensor] = {}
        for header, content in zip(headers, self.gathered(flat), strict=True):
            low = 0
            for name, kind, shape in header:
                empty = torch.empty(shape, dtype=getattr(torch, kind))
                high = low + empty.numel() * empty.element_size()
                found[name] = content[low:high].cpu().clone().view(empty.dtype).view(shape)
                low = high
        return found

    def ordered_sum(self, mine: Sequence[Tensor], length: int, rows: int) -> Tensor:
        """The sum over R = `rows` vectors [P = `length`], float32, in their order; row r is rank r mod W's."""
        piece = -(-length // self.size)
        sent = torch.zeros(self.size, len(mine), piece, device=self.device)
        for number, row in enumerate(mine):
            padded = torch.nn.functional.pad(row.to(self.device), (0, piece * self.size - length))
            sent[:, number] = padded.view(self.size, piece)
        counts = [len(range(rank, rows, self.size)) for rank in range(self.size)]
        got = torch.empty(rows, piece, device=self.device)
        to_each, from_each = [len(mine) * piece] * self.size, [count * piece for count in counts]
        self._call(dist.all_to_all_single, got.view(-1), sent.view(-1), from_each, to_each)
        summed, *others = in_order(list(got.split(counts)), rows)
        for other in others:
            summed += other
        whole = torch.empty(self.size, piece, device=self.device)
        self._call(dist.all_gather, list(whole.unbind()), summed)
        return whole.view(-1)[:length]

    def ordered_rows(self, mine: Sequence[Tensor], shape: torch.Size, rows: int) -> Tensor:
        """The sum over R = `rows` sparse gradients of a table [N, D], put end to end in their order."""
        counts = self.gathered(torch.tensor([g._values().shape[0] for g in mine], dtype=torch.int64))
        empty = torch.zeros(0, dtype=torch.int64, device=self.device)
        places = self.gathered(torch.cat([empty, *(g._indices()[0].to(self.device) for g in mine)]))
        none = torch.zeros(0, *shape[1:], device=self.device)
        values = self.gathered(torch.cat([none, *(g._values().to(self.device) for g in mine)]))
        by_row = [
            in_order([part.split(n.tolist()) for part, n in zip(parts, counts, strict=True)], rows)
            for parts in (places, values)
        ]
        return torch.sparse_coo_tensor(
            torch.cat(by_row[0]).unsqueeze(0), torch.cat(by_row[1]), shape, check_invariants=False
        )

    def _call(self, collective: Callable[..., object], *arguments: object) -> None:
        try:
            collective(*arguments)
        except RuntimeError as error:  # of gloo and of NCCL, whatever has happened
            reason = str(error).splitlines()[0]
            raise RanksError(
                f"rank {self.rank} of {self.size} has lost the others in {collective.__name__} ({reason}): see what "
                "they say. Started with --max-restarts, torchrun starts all again, from the last checkpoint"
            ) from error


def in_order(by_rank: Sequence[Sequence[T]], rows: int) -> list[T]:
    """What each rank has of its rows, in the order of the rows: row r is rank r mod W's."""
    return [by_rank[row % len(by_rank)][row // len(by_rank)] for row in range(rows)]


def described(tensors: Mapping[str, Tensor]) -> list[tuple[str, str, list[int]]]:
    """Name, type and shape of each."""
    return [(name, str(x.dtype).removeprefix("torch."), list(x.shape)) for name, x in tensors.items()]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu()


def _encoded(value: Any) -> Tensor:
    return torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
