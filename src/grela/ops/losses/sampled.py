"""Sampled softmax with log-Q correction, in both published forms, over negatives that all positions share.

Position p has score s_p for its target t and s_d for each of the negatives d it keeps: K are drawn from Q for
all positions together, and those that are t itself (accidental hits) are no negatives of that position.

`sampled_softmax`: Khrylchenko et al., Correcting the LogQ Correction, RecSys 2025, arXiv 2507.09331, section 3.3.
The target is there with certainty and needs no correction; a negative kept comes from Q'(d) = Q(d) / (1 - Q(t)):

    loss = -sg(1 - P) log( exp(s_p) / sum over d of exp(s_d - log Q'(d)) ),  sg: no gradient
    P    = exp(s_p) / ( exp(s_p) + mean over d of exp(s_d - log Q'(d)) )      estimates the target's probability

Its gradient is that of -log P, whose value estimates the full softmax's loss: that is what is returned, so
that losses can be compared. (d -log P = (1 - P)(d log sum - d s_p); the constant log K has no gradient.)

`classic_sampled_softmax`: Bengio and Senecal, IEEE Trans. Neural Networks 19(4), 2008; Yi et al., RecSys 2019,
doi 10.1145/3298689.3346996, equation for the corrected score s - log Q, applied to target and negatives alike:

    loss = -log( exp(s_p - log Q(t)) / ( exp(s_p - log Q(t)) + sum over d of exp(s_d - log Q(d)) ) )
"""

import torch
from torch import Tensor
from torch.nn.functional import embedding, softplus

from grela.ops.losses.negatives import Negatives
from grela.ops.losses.targets import Targets, seen_of
from grela.ops.repeats import Met, met_before, naive_bias

# P positions, D width, N items, K negatives


def naive_sampled_softmax(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
) -> Tensor:
    """The paper's weighted loss, position by position: the gradient of `sampled_softmax`, another value."""
    drawn = negatives.draw(count, rng)
    losses = []
    for p, (h, target) in enumerate(zip(hidden, targets.items, strict=True)):
        kept = drawn[drawn != target]
        if not len(kept):  # the estimate of P is 1, and nothing is to be learnt
            losses.append(0 * (h @ weight[target]))
            continue
        score = h @ weight[target] + naive_bias(targets, p, target[None])[0]
        scores = weight[kept] @ h + naive_bias(targets, p, kept)
        q_target = negatives.log_probability(target).to(h.dtype).exp()
        q = negatives.log_probability(kept).to(h.dtype).exp() / (1 - q_target)
        total = (scores.exp() / q).sum()
        probability = score.exp() / (score.exp() + total / len(kept))
        losses.append(-(1 - probability).detach() * (score.exp() / total).log())
    return torch.stack(losses).mean()


def sampled_softmax(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
) -> Tensor:
    """An estimate of the full softmax's loss from `count` negatives; its gradient by `weight` is sparse.

    hidden [P, D], weight [N+1, D] with padding in row 0. A position whose every negative is its target has loss 0.
    """
    drawn = negatives.draw(count, rng)
    return _sampled(candidate_scores(hidden, weight, targets, drawn), targets, drawn, negatives)


def sampled_softmax_of_rows(
    hidden: Tensor,
    rows: Tensor,
    targets: Targets,
    drawn: Tensor,
    *,
    negatives: Negatives,
    num_items: int,
) -> Tensor:
    """`sampled_softmax` by negatives drawn [K] and by the table's rows [P + K, D] of targets and draws."""
    scores = scores_by_rows(hidden, rows, targets, drawn, num_items)
    return _sampled(scores, targets, drawn, negatives)


def _sampled(
    scores: tuple[Tensor, Tensor, Tensor], targets: Targets, drawn: Tensor, negatives: Negatives
) -> Tensor:
    positive_P, scores_PK, hits_PK = scores
    kept_P = (len(drawn) - hits_PK.sum(1)).clamp(min=1).double()
    rest_P = torch.log1p(-negatives.log_probability(targets.items).exp())
    shift_P, log_q_K = (rest_P - kept_P.log()).to(positive_P), negatives.log_probability(drawn).to(positive_P)
    corrected_PK = scores_PK - log_q_K + shift_P[:, None]
    others_P = corrected_PK.masked_fill(hits_PK, -torch.inf).logsumexp(1)
    return softplus(others_P - positive_P).mean()


def naive_classic_sampled_softmax(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
) -> Tensor:
    """The definition, position by position."""
    drawn = negatives.draw(count, rng)
    losses = []
    for p, (h, target) in enumerate(zip(hidden, targets.items, strict=True)):
        candidates = torch.cat([target[None], drawn[drawn != target]])
        q = negatives.log_probability(candidates).to(h.dtype).exp()
        weights = (weight[candidates] @ h + naive_bias(targets, p, candidates)).exp() / q
        losses.append(-(weights[0] / weights.sum()).log())
    return torch.stack(losses).mean()


def classic_sampled_softmax(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    negatives: Negatives,
    count: int,
) -> Tensor:
    """The form before its correction; arguments as in `sampled_softmax`.

    It takes the target's odds to be 1 / (K Q(t)) of what they are: where K Q(t) < 1, as for a rare item among
    millions, the target counts as nearly learnt and moves too little.
    """
    drawn = negatives.draw(count, rng)
    positive_P, scores_PK, hits_PK = candidate_scores(hidden, weight, targets, drawn)
    corrected_P = positive_P - negatives.log_probability(targets.items).to(positive_P)
    corrected_PK = scores_PK - negatives.log_probability(drawn).to(positive_P)
    others_P = corrected_PK.masked_fill(hits_PK, -torch.inf).logsumexp(1)
    return softplus(others_P - corrected_P).mean()


def candidate_scores(
    hidden: Tensor, weight: Tensor, targets: Targets, drawn: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of the targets [P] and of the drawn items [P, K], at least float32, and where a draw is the target."""
    rows = embedding(torch.cat([targets.items, drawn]), weight, sparse=True)
    return scores_by_rows(hidden, rows, targets, drawn, len(weight) - 1)


def scores_by_rows(
    hidden: Tensor, rows: Tensor, targets: Targets, drawn: Tensor, num_items: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`candidate_scores` by the table's rows [P + K, D] of targets and drawn items."""
    items = targets.items
    positives_PD, negatives_KD = rows[: len(items)], rows[len(items) :]
    wide = torch.promote_types(hidden.dtype, torch.float32)
    positive_P = (hidden.to(wide) * positives_PD.to(wide)).sum(1)
    scores_PK = (hidden @ negatives_KD.to(hidden.dtype).T).to(wide)
    if targets.item_bias is not None:
        raised = embedding(torch.cat([items, drawn]), targets.item_bias, sparse=True).squeeze(1).to(wide)
        positive_P, scores_PK = positive_P + raised[: len(items)], scores_PK + raised[len(items) :]
    if targets.bias is not None:
        met = met_before(seen_of(targets), 0, len(items), num_items).to(hidden.device)
        raise_R = met.bias(targets.bias).to(wide)
        own = met.item == items[met.position]
        positive_P = positive_P.index_add(0, met.position[own], raise_R[own])
        pair, column = drawn_pairs(met, drawn)
        scores_PK = scores_PK.index_put((met.position[pair], column), raise_R[pair], accumulate=True)
    return positive_P, scores_PK, items[:, None] == drawn


def drawn_pairs(met: Met, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the met pairs are of a drawn item, and which draw [K] that is; an item may be drawn more than once."""
    ordered, draw = drawn.sort()
    low, high = torch.searchsorted(ordered, met.item), torch.searchsorted(ordered, met.item, right=True)
    count = high - low
    pair = torch.repeat_interleave(count)
    within = torch.arange(len(pair), device=drawn.device) - (count.cumsum(0) - count)[pair]
    return pair, draw[low[pair] + within]
