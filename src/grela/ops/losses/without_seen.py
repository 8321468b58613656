"""Softmax over the items that a position's user has not met yet, and its target.

Where recommendations leave seen items out, no probability need be kept for them:

    loss = mean over p of -log( exp(h_p . w_target(p)) / sum over i unseen at p or target(p) of exp(h_p . w_i) )
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from grela.ops.losses.softmax import Block, LossAndGradient, full_softmax
from grela.ops.losses.targets import Targets, seen_of
from grela.ops.repeats import naive_bias


def naive_softmax_without_seen(
    hidden: Tensor, weight: Tensor, targets: Targets, rng: torch.Generator
) -> Tensor:
    """The definition, position by position; arguments as in `naive_softmax`, with `targets.seen`."""
    seen = seen_of(targets)
    losses = []
    plain = replace(targets, bias=None)
    for p, (h, target, start, end) in enumerate(
        zip(hidden, targets.items.tolist(), seen.start.tolist(), seen.end.tolist(), strict=True)
    ):
        met = set(seen.history[start:end].tolist()) - {target}
        candidates = [i for i in range(1, len(weight)) if i not in met]
        at = torch.tensor(candidates.index(target), device=h.device)
        raised = naive_bias(plain, p, torch.tensor(candidates, device=h.device))
        losses.append(cross_entropy(weight[candidates] @ h + raised, at))
    return torch.stack(losses).mean()


def softmax_without_seen(
    hidden: Tensor,
    weight: Tensor,
    targets: Targets,
    rng: torch.Generator,
    *,
    block: Block | None = None,
    loss_and_gradient: LossAndGradient | None = None,
) -> Tensor:
    """`naive_softmax_without_seen` in blocks, as `softmax`."""
    return full_softmax(
        hidden, weight, replace(targets, bias=None), seen_of(targets), block, loss_and_gradient
    )
