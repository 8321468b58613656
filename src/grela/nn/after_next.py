"""The item after the next, foretold in training alone: what is likely soon is a lesson about what is likely next.

    loss = -log p(next | h) - weight * log p(after next | h + M h)

The second softmax has the first's items and biases, and a linear map M of its own; a score never asks for it. After
multi-token prediction (Gloeckle et al., ICML 2024, arXiv 2404.19737).
"""

import torch
from torch import Tensor, nn

# P positions, D width


class AfterNext(nn.Module):
    """The map M, [D, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.empty(width, width))

    def mapped(self, hidden: Tensor) -> Tensor:
        """Hidden states [P, D] as those that the item after the next is foretold by: h + M h."""
        return hidden + (hidden @ self.map.to(hidden.dtype).T).to(hidden.dtype)
