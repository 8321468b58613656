"""The bidirectional sum equals its definition over the positions that are there."""

import torch
from attention_cases import B, H, V, arguments

from grela.ops.linear_attention import bidirectional

LENGTH = 9
PRESENT = torch.tensor([[True] * 6 + [False] * 3, [True] * 9])


def by_definition(q, k, q_rot, k_rot, v, present):
    """Row by row, head by head, position by position, over the present s alone."""
    rows = []
    for b in range(len(q)):
        there = present[b].nonzero().squeeze(1)
        heads = []
        for h in range(q.shape[2]):
            scores_TS = q_rot[b, :, h] @ k_rot[b, there, h].T
            denominators_T = q[b, :, h] @ k[b, there, h].sum(0) + 1e-6
            heads.append(scores_TS @ v[b, there, h] / denominators_T[:, None])
        rows.append(torch.stack(heads, 1))
    return torch.stack(rows)


def test_bidirectional_equals_its_definition_in_values_and_gradients(device):
    a = arguments(LENGTH, device=device)
    present = PRESENT.to(device)
    results = []
    for form in (bidirectional, by_definition):
        leaves = [x.clone().requires_grad_() for x in a.inputs]
        out = form(*leaves, present)
        rng = torch.Generator(device).manual_seed(5)
        weights = torch.randn(out.shape, generator=rng, device=device, dtype=out.dtype)
        (out * weights).sum().backward()
        results.append([out, *(leaf.grad for leaf in leaves)])
    assert results[0][0].shape == (B, LENGTH, H, V)
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_what_lies_at_padding_changes_nothing():
    a = arguments(LENGTH)
    before = bidirectional(*a.inputs, PRESENT)
    for x in (a.k, a.k_rot, a.v):
        x[0, 6:] = 1e6
    after = bidirectional(*a.inputs, PRESENT)
    assert torch.equal(before[PRESENT], after[PRESENT])


def test_more_padding_changes_nothing():
    a = arguments(LENGTH)
    short = bidirectional(*(x[:1, :6] for x in a.inputs), PRESENT[:1, :6])
    long = bidirectional(*(x[:1] for x in a.inputs), PRESENT[:1])
    torch.testing.assert_close(long[:, :6], short, rtol=1e-13, atol=1e-13)
