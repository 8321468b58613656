"""When the next event comes, and what it is: one joint distribution, of which scores are the marginal over items.

    p(item, class of the gap) = p(class | h) p(item | class, h)
    p(class | h)              = softmax(when h)
    p(item | class, h)        = softmax over items of (h + maps[class] h) . w_item
    score(item)               = log of the sum over classes of p(item, class)

Training knows when the target came, so it needs one softmax over the catalogue, that of the target's class, and a
tiny one over classes. A recommendation does not know, and sums over all classes: a mixture of softmaxes (Yang et al.,
ICLR 2018, arXiv 1711.03953) whose components are told apart by supervision; equally, the mark distribution of a
marked temporal point process (Du et al., KDD 2016) that is made to depend on the time.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from grela.ops.gaps import BUCKETS, TIED

# P positions, D width, K classes, N items


class NextGap(nn.Module):
    """K classes of gaps, each with a linear map of the hidden state."""

    class_of: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.when = nn.Parameter(torch.empty(classes, width))
        self.maps = nn.Parameter(torch.empty(classes, width, width))
        self.register_buffer("class_of", torch.empty(BUCKETS, dtype=torch.int64))

    def draw(self, std: float, rng: torch.Generator) -> None:
        """Fill the parameters from N(0, std^2); all gaps are of class 0 until `divide`."""
        with torch.no_grad():
            self.when.normal_(0, std, generator=rng)
            self.maps.normal_(0, std, generator=rng)
            self.class_of.zero_()

    def divide(self, counts: np.ndarray) -> None:
        """Say which gaps make a class, from training's number of gaps in each bucket, int64 [BUCKETS].

        Tied events are class 0; the others are divided evenly, as far as whole buckets allow.
        """
        longer = np.where(np.arange(BUCKETS) > TIED, counts, 0)
        before = np.cumsum(longer) - longer / 2
        parts = len(self.when) - 1
        even = np.minimum(before * parts // max(1, longer.sum()), parts - 1).astype(np.int64)
        self.class_of.copy_(torch.from_numpy(np.where(np.arange(BUCKETS) > TIED, 1 + even, 0)))

    def classes(self, next_gaps: Tensor | None) -> Tensor:
        """The classes of the buckets of the gaps to the next events, int64 [P]; ValueError where they are not given."""
        if next_gaps is None:
            raise ValueError("the row does not say when its targets came; this model learns from next_gaps")
        return self.class_of[next_gaps]

    def mapped(self, hidden: Tensor, classes: Tensor) -> Tensor:
        """Hidden states [P, D] as those of each position's class, int64 [P]."""
        found = torch.empty_like(hidden)
        for number in range(len(self.maps)):
            here = (classes == number).nonzero().squeeze(1)
            found = found.index_copy(0, here, self.of_class(hidden[here], number))
        return found

    def of_class(self, hidden: Tensor, number: int) -> Tensor:
        """Hidden states [P, D] as those of one class: h + M h."""
        return hidden + (hidden @ self.maps[number].to(hidden.dtype).T).to(hidden.dtype)

    def loss(self, hidden: Tensor, classes: Tensor) -> Tensor:
        """The mean of -log p(class | h)."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        return cross_entropy((hidden @ self.when.to(hidden.dtype).T).to(wide), classes)

    def log_probabilities(self, hidden: Tensor) -> Tensor:
        """log p(class | h), [P, K]."""
        return log_softmax(hidden @ self.when.T, -1)
