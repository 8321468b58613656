"""Rows of every plan as the windows that a `SequentialModel` reads."""

import numpy as np
import torch
from torch import Tensor

from grela.models.sequential import Windows, padded
from grela.training.prefixes import PrefixRow
from grela.training.sequences import Row, TrainingSequences
from grela.training.windows import PackedRow


def windows_of(row: Row, sequences: TrainingSequences, *, with_times: bool) -> Windows:
    """The row's histories: targets follow each event of a `PackedRow`, and the last one of a prefix.

    Raises TypeError at rows of another kind, ValueError where times are asked for and the sequences have none.
    """
    if isinstance(row, PackedRow):
        lengths = torch.bincount(row.segments[0])
        histories, places = padded(row.items[0], lengths, _times(row.seen.end - 1, sequences, with_times))
        return Windows(histories, places, row.targets, row.seen)
    if isinstance(row, PrefixRow):
        last = row.lengths.cumsum(0) - 1
        segments = torch.repeat_interleave(torch.arange(len(row.lengths)), row.lengths)
        at = row.seen.end[segments] - 1 - (last[segments] - torch.arange(len(row.items)))
        histories, places = padded(row.items, row.lengths, _times(at, sequences, with_times))
        return Windows(histories, places[last], row.targets, row.seen)
    raise TypeError(f"a {type(row).__name__} is not made of whole windows")


def _times(at: Tensor, sequences: TrainingSequences, with_times: bool) -> Tensor | None:
    if not with_times:
        return None
    if sequences.times is None:
        raise ValueError("the sequences have no times, which this model reads")
    return torch.from_numpy(np.asarray(sequences.times[at.numpy()]))
