"""Scalable cross-entropy, SCE: Mezentsev et al., RecSys 2024, arXiv 2409.18721, Algorithm 1 with Mix.

Negatives are found by approximate maximum inner product search: each bucket has a centre, a random mixture of the
hidden states; it takes the positions and the items that score its centre highest. Within a bucket each position's
loss is a softmax over the bucket's items and its own target. A position in several buckets has the largest of its
losses; one in none has no part in the mean.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding

from grela.ops.losses.softmax import LOGITS_BYTES
from grela.ops.losses.targets import Targets
from grela.ops.repeats import naive_bias

# P positions, D width, N items; b buckets, x positions and y items of each


def naive_scalable_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    bucket_items: int,
    buckets: int,
    bucket_positions: int,
) -> Tensor:
    """The algorithm, bucket by bucket and position by position."""
    found: dict[int, list[Tensor]] = {}
    for centre in centres(hidden, buckets, rng):
        positions = (hidden @ centre).argsort(descending=True)[:bucket_positions]
        items = 1 + (weight[1:] @ centre).argsort(descending=True)[:bucket_items]
        for p in positions.tolist():
            target = targets.items[p]
            candidates = torch.cat([target[None], items[items != target]])
            scores = weight[candidates] @ hidden[p] + naive_bias(targets, p, candidates)
            loss = cross_entropy(scores, torch.zeros_like(target))
            found.setdefault(p, []).append(loss)
    return torch.stack([torch.stack(losses).max() for losses in found.values()]).mean()


def scalable_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    bucket_items: int,
    buckets: int = 0,
    bucket_positions: int = 0,
) -> Tensor:
    """SCE of hidden [P, D], weight [N+1, D] with padding in row 0; the gradient by `weight` is sparse.

    Where `buckets` or `bucket_positions` is 0 it is sqrt(2 P), the paper's rule (alpha 2, beta 1).
    """
    usual = max(1, round(math.sqrt(2 * len(hidden))))
    buckets, bucket_positions = buckets or usual, min(bucket_positions or usual, len(hidden))
    with torch.no_grad():
        centres_bD = centres(hidden, buckets, rng)
        chosen_bx = (centres_bD @ hidden.T).topk(bucket_positions, dim=1).indices
        items_by = top_items(centres_bD, weight, min(bucket_items, len(weight) - 1))
    wide = torch.promote_types(hidden.dtype, torch.float32)
    rows = embedding(torch.cat([targets.items, items_by.flatten()]), weight, sparse=True)
    positive_P = (hidden.to(wide) * rows[: len(hidden)].to(wide)).sum(1)
    hidden_bxD = hidden[chosen_bx]
    rows_byD = rows[len(hidden) :].view(*items_by.shape, -1).to(hidden.dtype)
    scores_bxy = (hidden_bxD @ rows_byD.mT).to(wide)
    if targets.item_bias is not None:
        raised = embedding(torch.cat([targets.items, items_by.flatten()]), targets.item_bias, sparse=True)
        positive_P = positive_P + raised[: len(hidden), 0].to(wide)
        scores_bxy = scores_bxy + raised[len(hidden) :, 0].view(len(items_by), 1, -1).to(wide)
    hits_bxy = targets.items[chosen_bx][:, :, None] == items_by[:, None, :]
    others_bx = scores_bxy.masked_fill(hits_bxy, -torch.inf).logsumexp(2)
    positive_bx = positive_P[chosen_bx]
    losses_bx = torch.logaddexp(others_bx, positive_bx) - positive_bx
    return _largest(losses_bx.flatten(), chosen_bx.flatten(), len(hidden)).mean()


def centres(hidden: Tensor, buckets: int, rng: torch.Generator) -> Tensor:
    """Random mixtures [b, D] of the hidden states [P, D]."""
    mixing = torch.randn(buckets, len(hidden), generator=rng, device=hidden.device, dtype=torch.float32)
    mixed: Tensor = (mixing.to(hidden.dtype) @ hidden.detach()) / math.sqrt(len(hidden))
    return mixed


def top_items(centres: Tensor, weight: Tensor, count: int) -> Tensor:
    """The `count` items 1..N that score each centre highest, int64 [b, count], a stretch of the catalogue at a time."""
    size = max(count, LOGITS_BYTES // (centres.element_size() * len(centres)))
    best, items = centres.new_empty(len(centres), 0), torch.empty(len(centres), 0, dtype=torch.int64)
    items = items.to(centres.device)
    for low in range(1, len(weight), size):
        scores = centres @ weight[low : low + size].to(centres.dtype).T
        top, at = scores.topk(min(count, scores.shape[1]), dim=1)
        best, items = torch.cat([best, top], 1), torch.cat([items, at + low], 1)
        best, kept = best.topk(min(count, best.shape[1]), dim=1)
        items = items.gather(1, kept)
    return items


def _largest(losses: Tensor, positions: Tensor, count: int) -> Tensor:
    """The largest loss of each of the `count` positions that has any."""
    none = torch.full((count,), -torch.inf, dtype=losses.dtype, device=losses.device)
    largest = none.scatter_reduce(0, positions, losses, "amax", include_self=False)
    return largest[largest > -torch.inf]
