"""Histories one after the other without padding: where each lies, and sums over each.

Sums over a history's positions run over chunks of C positions, so that they are products of matrices of one size
whatever the lengths; only the places between a history's end and its last chunk's are idle. Every movement of data
here is a gather, and so is its gradient, and sums run in the order of the positions: the same bits every time, on
every device.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

# B histories, P positions, N chunks, C places of a chunk, H heads, K width of a head, X any width

LARGEST_CHUNK = 32


@dataclass(frozen=True, eq=False)
class Packing:
    """B histories in P positions. All tensors int64.

    lengths [B], from 1; segments [P] the history of each position; positions [P] its place in the history, from 0;
    last [B] where each history ends. chunks [B] how many chunks a history has; owner [N] the history of a chunk;
    chunk, within [P] the chunk of each position and its place there; taken [N, C] the position in each place, P where
    there is none.
    """

    lengths: Tensor
    segments: Tensor
    positions: Tensor
    last: Tensor
    chunks: Tensor
    owner: Tensor
    chunk: Tensor
    within: Tensor
    taken: Tensor
    longest: int

    def to(self, device: torch.device) -> "Packing":
        """The same on `device`."""
        tensors = {name: x for name, x in vars(self).items() if isinstance(x, Tensor)}
        moved = {name: x.to(device, non_blocking=True) for name, x in tensors.items()}
        return Packing(longest=self.longest, **moved)


def packing(lengths: Tensor) -> Packing:
    """The packing of histories of these lengths, int64 [B] from 1, in their order; made on the lengths' device."""
    longest, total, device = int(lengths.max()), int(lengths.sum()), lengths.device
    # At most the mean length, so that idle places are fewer than positions.
    size = min(LARGEST_CHUNK, 1 << ((total // len(lengths)).bit_length() - 1))
    ends = lengths.cumsum(0)
    segments = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths, output_size=total)
    positions = torch.arange(total, device=device) - (ends - lengths)[segments]
    chunks = (lengths + (size - 1)) // size
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=device), chunks)
    chunk = (chunks.cumsum(0) - chunks)[segments] + positions // size
    within = positions % size
    taken = torch.full((len(owner), size), total, device=device)
    taken[chunk, within] = torch.arange(total, device=device)
    return Packing(
        lengths, segments, positions, ends - 1, chunks, owner, chunk, within, taken, longest=longest
    )


def sums(x: Tensor, lengths: Tensor, owner: Tensor) -> Tensor:
    """The sum of each run of rows: x [N, X], runs of `lengths` [B], `owner` [N] the run of each row; [B, X]."""
    summed: Tensor = _Sums.apply(x, lengths, owner)  # type: ignore[no-untyped-call]
    return summed


def repeated(x: Tensor, lengths: Tensor, owner: Tensor) -> Tensor:
    """The adjoint of `sums`: each row as often as its run is long, x [B, X] to [N, X]."""
    rows: Tensor = _Repeated.apply(x, lengths, owner)  # type: ignore[no-untyped-call]
    return rows


class HeadPlaces(NamedTuple):
    """For rows of one head: `taken` [N, H, C] among P * H of them and one of zeros, `place` [P, H] among N * H * C."""

    taken: Tensor
    place: Tensor


def head_places(packed: Packing, heads: int) -> HeadPlaces:
    """What `to_chunks` and `from_chunks` need for `heads` heads."""
    head_H = torch.arange(heads, device=packed.taken.device)
    taken_NHC = packed.taken.unsqueeze(1) * heads + head_H.unsqueeze(1)
    place_PH = packed.chunk.unsqueeze(1) * heads + head_H
    place_PH = place_PH * packed.taken.shape[1] + packed.within.unsqueeze(1)
    # Idle places point to the row after the last.
    return HeadPlaces(taken_NHC.clamp(max=len(packed.chunk) * heads), place_PH)


def to_chunks(x: Tensor, places: HeadPlaces) -> Tensor:
    """x [P, H, K] in chunks by head, [N, H, C, K]; idle places hold zero."""
    rows: Tensor = _ToChunks.apply(x, *places)  # type: ignore[no-untyped-call]
    return rows


def from_chunks(x: Tensor, places: HeadPlaces) -> Tensor:
    """x [N, H, C, K] at the positions, [P, H, K]: the adjoint of `to_chunks`."""
    rows: Tensor = _FromChunks.apply(x, *places)  # type: ignore[no-untyped-call]
    return rows


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lengths: Tensor, owner: Tensor) -> Tensor:
        ctx.save_for_backward(owner)
        # unsafe: that the lengths add up is this module's business, and checking it would wait for the device.
        return torch.segment_reduce(x, "sum", lengths=lengths, axis=0, unsafe=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].index_select(0, ctx.saved_tensors[0]), None, None


class _Repeated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lengths: Tensor, owner: Tensor) -> Tensor:
        ctx.save_for_backward(lengths)
        return x.index_select(0, owner)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (lengths,) = ctx.saved_tensors
        summed = torch.segment_reduce(grads[0].contiguous(), "sum", lengths=lengths, axis=0, unsafe=True)
        return summed, None, None


class _ToChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, taken: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return _at_places(x, taken)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _at_positions(grads[0], ctx.saved_tensors[0]), None, None


class _FromChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, taken: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(taken)
        return _at_positions(x, place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _at_places(grads[0], ctx.saved_tensors[0]), None, None


def _at_places(x: Tensor, taken: Tensor) -> Tensor:
    """[P, H, K] to [N, H, C, K]."""
    rows = x.reshape(-1, x.shape[-1])
    rows = torch.cat((rows, rows.new_zeros(1, rows.shape[1])))
    return rows.index_select(0, taken.flatten()).view(*taken.shape, -1)


def _at_positions(x: Tensor, place: Tensor) -> Tensor:
    """[N, H, C, K] to [P, H, K]."""
    return x.reshape(-1, x.shape[-1]).index_select(0, place.flatten()).view(*place.shape, -1)
