"""From histories to scores by a model: offline evaluation, recommendation and service run this same code."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from grela.data.histories import HistoryBatch
from grela.models.forms import TORCH, ChosenForm
from grela.models.recgrela import RecGRELA
from grela.models.sequential import SequentialModel, padded
from grela.ops.losses.targets import SeenItems
from grela.ops.packing import packing
from grela.ops.parallel import map_on_cores
from grela.ops.repeats import Met, met_before
from grela.training.bounds import greedy_bounds

# B histories, N items, D width, P positions of a row

# Of a row, and of a block with padding: as much as a core's cache holds, or on CUDA enough to be worth launching.
POSITIONS, POSITIONS_ON_CUDA = 2_048, 65_536
PLACES, PLACES_ON_CUDA = 12_800, 131_072


class ModelScorer:
    """A `Scorer` of the evaluation: float32 [B, N] scores, column j for dense item j + 1.

    The causal form reads whole histories, however long, at most `positions` events at a time: histories are
    packed into rows, which cores take one by one, and a longer history goes through in pieces with its state
    carried along, which changes nothing. The bidirectional form reads the last
    `window` events, as it was trained, packed in the same way. `form` computes the
    blocks. Empty histories are scored by a zero hidden state. On CUDA rows are long and come one after the other.
    """

    def __init__(
        self,
        model: RecGRELA,
        *,
        window: int,
        dtype: torch.dtype = torch.float32,
        positions: int | None = None,
        form: ChosenForm = TORCH,
    ) -> None:
        self.model = model
        self.window = window
        self.dtype = dtype
        self.positions = positions or (POSITIONS_ON_CUDA if _device(model).type == "cuda" else POSITIONS)
        self.form = form

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue."""
        return self.model.config.num_items

    @torch.inference_mode()
    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """Scores of every item for each history: float32 [B, N]."""
        seen = _seen(batch).to(_device(self.model))
        scores: np.ndarray = self.model.scores(self.hidden(batch), seen).cpu().numpy()
        return scores

    def met(self, batch: HistoryBatch) -> Met:
        """What each history has met, once each."""
        return met_before(_seen(batch), 0, len(batch), self.num_items)

    @torch.inference_mode()
    def hidden(self, batch: HistoryBatch) -> Tensor:
        """The hidden state after each history's last event: float32 [B, D]; zero for an empty history."""
        hidden_BD = torch.zeros(len(batch), self.model.config.width, device=_device(self.model))
        filled = np.flatnonzero(batch.lengths)
        lengths = batch.lengths[filled]
        if self.model.config.form == "bidirectional":
            lengths = np.minimum(lengths, self.window)
        bounds = greedy_bounds(lengths, self.positions)
        parts = [filled[low:high] for low, high in pairwise(bounds.tolist())]
        side_by_side = 1 if hidden_BD.device.type == "cuda" else torch.get_num_threads()
        found = map_on_cores(lambda part: self._last(batch.take(part)), parts, threads=side_by_side)
        for part, hidden in zip(parts, found, strict=True):
            hidden_BD[part] = hidden
        return hidden_BD

    @torch.inference_mode()
    def _last(self, batch: HistoryBatch) -> Tensor:
        """The hidden states of one row's histories. These modes are a thread's own, so they are set here."""
        device = _device(self.model)
        causal = self.model.config.form == "causal"
        with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            return (self._causal(batch) if causal else self._bidirectional(batch)).float()

    def _causal(self, batch: HistoryBatch) -> Tensor:
        if len(batch) == 1 and batch.lengths[0] > self.positions:
            return self._in_pieces(batch[0], batch.gaps)
        items, lengths = np.concatenate([batch[b] for b in range(len(batch))]), batch.lengths
        ends = np.cumsum(lengths)
        positions = np.arange(len(items)) - np.repeat(ends - lengths, lengths)
        segments = np.repeat(np.arange(len(lengths)), lengths)
        hidden, _ = self.model(
            self._row(items),
            self._row(segments),
            self._row(positions),
            form=self.form.block,
            gaps=self._row(batch.gaps),
        )
        last: Tensor = hidden[0, torch.from_numpy(ends - 1)]
        return last

    def _in_pieces(self, items: np.ndarray, gaps: np.ndarray) -> Tensor:
        state = self.model.empty_state(1)
        for low in range(0, len(items), self.positions):
            piece = self._row(items[low : low + self.positions])
            positions = low + torch.arange(piece.shape[1], device=piece.device).unsqueeze(0)
            hidden, state = self.model(
                piece,
                torch.zeros_like(piece),
                positions,
                state,
                form=self.form.block,
                gaps=self._row(gaps[low : low + self.positions]),
            )
        last: Tensor = hidden[:, -1]
        return last

    def _bidirectional(self, batch: HistoryBatch) -> Tensor:
        items = np.concatenate([batch[b] for b in range(len(batch))])
        ends = np.cumsum(batch.lengths)
        read = np.arange(len(items)) >= np.repeat(ends - self.window, batch.lengths)
        lengths = torch.from_numpy(np.minimum(batch.lengths, self.window))
        device = _device(self.model)
        return self.model.packed_last_hidden(
            torch.from_numpy(items[read].astype(np.int64)).to(device),
            packing(lengths).to(device),
            form=self.form.packed,
            gaps=torch.from_numpy(batch.gaps[read].astype(np.int64)).to(device),
        )

    def _row(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).unsqueeze(0).to(_device(self.model))


class WindowScorer:
    """A `Scorer` by a `SequentialModel`: each history's last `window` events, a block of like lengths at a time.

    A block has at most `places` places, padding among them. Empty histories are scored by a zero hidden state.
    """

    def __init__(self, model: SequentialModel, *, window: int, places: int | None = None) -> None:
        self.model = model
        self.window = window
        self.places = places or (PLACES_ON_CUDA if _device(model).type == "cuda" else PLACES)

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue."""
        return self.model.num_items

    @torch.inference_mode()
    def scores(self, batch: HistoryBatch) -> np.ndarray:
        """Scores of every item for each history: float32 [B, N]."""
        device, width = _device(self.model), self.model.embedding.embedding_dim
        hidden_BD = torch.zeros(len(batch), width, device=device)
        lengths = np.minimum(batch.lengths, self.window)
        by_length = np.argsort(-lengths, kind="stable")
        by_length = by_length[lengths[by_length] > 0]
        low = 0
        while low < len(by_length):
            high = low + max(1, self.places // int(lengths[by_length[low]]))
            hidden_BD[by_length[low:high]] = self._hidden(batch.take(by_length[low:high]))
            low = high
        scores: np.ndarray = self.model.scores(hidden_BD).float().cpu().numpy()
        return scores

    def _hidden(self, batch: HistoryBatch) -> Tensor:
        lengths = np.minimum(batch.lengths, self.window)
        at = np.repeat(batch.end - np.cumsum(lengths), lengths) + np.arange(lengths.sum())
        times = torch.from_numpy(batch.times[at]) if self.model.reads_times else None
        items = torch.from_numpy(batch.items[at].astype(np.int64))
        histories, _ = padded(items, torch.from_numpy(lengths), times)
        return self.model.last_hidden(histories.to(_device(self.model))).float()


def _device(model: RecGRELA | SequentialModel) -> torch.device:
    return model.embedding.weight.device


def _seen(batch: HistoryBatch) -> SeenItems:
    """Each history as what was seen, one after the other. A copy: the log may be memory that is not to be written."""
    ends = torch.from_numpy(np.cumsum(batch.lengths))
    items = np.concatenate([np.zeros(0, np.int32), *(batch[b] for b in range(len(batch)))])
    return SeenItems(torch.from_numpy(items), ends - torch.from_numpy(batch.lengths), ends)
