"""Binary cross-entropy with negatives of each position's own: SASRec's objective (Kang and McAuley, ICDM 2018, III-E).

    loss = mean over p of -( log sigma(s_p) + sum over K negatives d of log(1 - sigma(s_d)) )

The paper draws one negative for each position, uniformly, from items that are not in the user's history. Here a draw
that is the target, or that the user has met before it, is no negative. The authors draw again instead, which gives
negatives the weight N / (N - m) where m of N items have been met: at the minimum all scores of a position move by one
number, and no rank changes. They also spare the items that come later, of which a position knows nothing. So nothing
tells a model that what was met does not come again: its recommendations are to leave seen items out.

`gbce` without calibration is the same but for negatives that all positions share, met or not, and for the factor
1 / (K + 1).
"""

import torch
from torch import Tensor
from torch.nn.functional import embedding, softplus

from grela.ops.losses.negatives import Negatives
from grela.ops.losses.targets import Targets, seen_of

# P positions, D width, N items, K negatives


def naive_binary_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
) -> Tensor:
    """The definition, position by position."""
    seen = seen_of(targets)
    drawn = negatives.draw(len(hidden) * count, rng).tolist()
    losses = []
    for p, (h, target) in enumerate(zip(hidden, targets.items.tolist(), strict=True)):
        met = seen.history[int(seen.start[p]) : int(seen.end[p])].tolist()
        loss = -torch.sigmoid(_score(h, weight, targets, target)).log()
        for item in drawn[p * count : (p + 1) * count]:
            if item != target and item not in met:
                loss = loss - (1 - torch.sigmoid(_score(h, weight, targets, item))).log()
        losses.append(loss)
    return torch.stack(losses).mean()


def _score(h: Tensor, weight: Tensor, targets: Targets, item: int) -> Tensor:
    score = h @ weight[item]
    return score if targets.item_bias is None else score + targets.item_bias[item, 0]


def binary_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
) -> Tensor:
    """`naive_binary_cross_entropy` at once: hidden [P, D], weight [N+1, D], whose gradient is sparse.

    It needs `targets.seen` and knows no bias of what was seen, which is never a negative.
    """
    drawn_PK = negatives.draw(len(hidden) * count, rng).view(-1, count)
    items_PC = torch.cat([targets.items[:, None], drawn_PK], 1)  # C = 1 + K: the target comes first
    wide = torch.promote_types(hidden.dtype, torch.float32)
    rows_PCD = embedding(items_PC, weight, sparse=True).to(wide)
    scores_PC = (rows_PCD @ hidden.to(wide)[:, :, None]).squeeze(2)
    if targets.item_bias is not None:
        scores_PC = scores_PC + embedding(items_PC, targets.item_bias, sparse=True).squeeze(2).to(wide)
    others_PK = softplus(scores_PC[:, 1:]).masked_fill(_no_negative(targets, drawn_PK), 0)
    return (softplus(-scores_PC[:, 0]) + others_PK.sum(1)).mean()


def _no_negative(targets: Targets, drawn: Tensor) -> Tensor:
    """Where a draw [P, K] is its position's target, or was met before it, bool [P, K]."""
    seen = seen_of(targets)
    # What was seen may lie on another device, where the whole log is.
    columns = drawn.to(seen.start.device).T
    met = torch.zeros_like(columns, dtype=torch.bool)
    for first, last in seen.pieces(0, len(drawn)):
        position, item = seen.pairs(first, last)
        for column, found in zip(columns, met, strict=True):
            found[first + position[column[first:last][position] == item]] = True
    return met.T.to(drawn.device) | (drawn == targets.items[:, None])
