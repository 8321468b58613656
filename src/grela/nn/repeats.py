"""A learned bias on the items of the history: recalled where people repeat, suppressed where they do not.

    score(i) = h . w_i + [i in the history] ( b + c(how often) + a(how many events ago) )

c and a are tables over the buckets of `grela.ops.repeats`. What it needs of a user is each met item's count and
last place, which whoever leaves out seen items keeps anyway. After the copy modes of RepeatNet (Ren et al., AAAI 2019,
arXiv 1812.02646), here as one term of one softmax, so that what recalling gains is weighed against all other items.
"""

import torch
from torch import Tensor, nn

from grela.ops.losses.targets import RepeatBias
from grela.ops.repeats import AGES, COUNTS, Met

# B histories, N items


class Repeats(nn.Module):
    """The tables of the bias; b is the part of both tables' entries that they share."""

    def __init__(self) -> None:
        super().__init__()
        self.by_count = nn.Parameter(torch.empty(COUNTS))
        self.by_age = nn.Parameter(torch.empty(AGES))

    @property
    def bias(self) -> RepeatBias:
        """The tables, as the losses take them."""
        return RepeatBias(self.by_count, self.by_age)

    def start_at(self, bias: float) -> None:
        """Raise every met item alike; see `grela.training.statistics`."""
        with torch.no_grad():
            self.by_count.fill_(bias)
            self.by_age.zero_()

    def raise_met(self, scores: Tensor, met: Met) -> None:
        """Raise the scores [B, N] of items 1..N in place where the history has met the item."""
        scores[met.position, met.item - 1] += met.bias(self.bias).to(scores)
