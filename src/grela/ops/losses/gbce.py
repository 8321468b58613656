"""Generalised binary cross-entropy, gBCE: Petrov and Macdonald, gSASRec, RecSys 2023, arXiv 2308.07192.

    loss = mean over p of -1 / (K + 1) ( beta log sigma(s_p) + sum over K negatives d of log(1 - sigma(s_d)) )
    beta = alpha ( t (1 - 1 / alpha) + 1 / alpha ),   alpha = K / (N - 1), the share of items that are drawn

Calibration t = 0 is plain binary cross-entropy; t = 1 makes sigma(s) the item's probability, however few are drawn.
The paper draws K negatives for each position; here all positions share them (the same expectation, one matrix
product), and a draw that is a position's target (an accidental hit) is no negative of it and not counted in K.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from grela.ops.losses.negatives import Negatives
from grela.ops.losses.sampled import candidate_scores
from grela.ops.losses.targets import Targets
from grela.ops.repeats import naive_bias

# P positions, D width, N items, K negatives


def beta(num_items: int, count: int, calibration: float) -> float:
    """The power of the target's probability; more draws than other items count as all of them (alpha 1)."""
    alpha = min(1.0, count / (num_items - 1))
    return alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)


def naive_gbce(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
    calibration: float,
) -> Tensor:
    """The definition, position by position."""
    drawn = negatives.draw(count, rng)
    power = beta(len(weight) - 1, count, calibration)
    losses = []
    for p, (h, target) in enumerate(zip(hidden, targets.items, strict=True)):
        kept = drawn[drawn != target]
        score = h @ weight[target] + naive_bias(targets, p, target[None])[0]
        loss = (torch.sigmoid(score) ** power).log()
        for score in weight[kept] @ h + naive_bias(targets, p, kept):
            loss = loss + (1 - torch.sigmoid(score)).log()
        losses.append(-loss / (len(kept) + 1))
    return torch.stack(losses).mean()


def gbce(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
    calibration: float,
) -> Tensor:
    """`naive_gbce` as one matrix product: hidden [P, D], weight [N+1, D], whose gradient is sparse."""
    drawn = negatives.draw(count, rng)
    positive_P, scores_PK, hits_PK = candidate_scores(hidden, weight, targets, drawn)
    power = beta(len(weight) - 1, count, calibration)
    others_P = softplus(scores_PK).masked_fill(hits_PK, 0).sum(1)
    kept_P = count - hits_PK.sum(1)
    return ((power * softplus(-positive_P) + others_P) / (kept_P + 1)).mean()
