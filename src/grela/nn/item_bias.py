"""A learned bias of each item, which begins at its popularity in training.

    score(i) = h . w_i + b_i,   b_i = log(events of i + 1) - log(sum over all items of the same)   at first

So an untrained model ranks by popularity, and embeddings learn what deviates from it: where an item has few events,
that is all that can be learnt for long.
"""

import numpy as np
import torch
from torch import Tensor, nn


class ItemBias(nn.Embedding):
    """Weight [N + 1, 1], padding in row 0: a table like the items', so that sampled losses touch few rows of it."""

    def __init__(self, num_items: int) -> None:
        super().__init__(num_items + 1, 1)

    def start_at(self, counts: np.ndarray) -> None:
        """Begin at the popularity of items with so many events, int [N]."""
        with torch.no_grad():
            popularity = torch.from_numpy(np.log1p(counts.astype(np.float64)))
            self.weight[1:, 0] = popularity - popularity.exp().sum().log()

    @property
    def of_items(self) -> Tensor:
        """The biases [N] of items 1..N."""
        return self.weight[1:, 0]
