"""Softmax loss and its gradient on a block of logits, one row a program, in place."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator, import-untyped"

import triton
import triton.language as tl

# p positions, N items; BLOCK items at a time


@triton.jit
def softmax_kernel(logits, targets, losses, items, BLOCK: tl.constexpr):
    """logits [p, N] become softmax minus one at the target; losses [p] float32. A logit of -inf is no candidate."""
    row = tl.program_id(0).to(tl.int64)
    here = logits + row * items
    target = tl.load(targets + row)
    target_logit = tl.load(here + target).to(tl.float32)
    # Each column of the block keeps its own maximum and sum; from the least float32, so that no -inf - -inf is formed.
    largest = tl.full([BLOCK], -3.4028234663852886e38, tl.float32)
    total = tl.full([BLOCK], 0.0, tl.float32)
    column = tl.arange(0, BLOCK)
    for start in range(0, items, BLOCK):
        x = tl.load(here + start + column, mask=start + column < items, other=float("-inf")).to(tl.float32)
        raised = tl.maximum(largest, x)
        total = total * tl.exp(largest - raised) + tl.exp(x - raised)
        largest = raised
    top = tl.max(largest, 0)
    normaliser = top + tl.log(tl.sum(total * tl.exp(largest - top), 0))
    tl.store(losses + row, normaliser - target_logit)
    for start in range(0, items, BLOCK):
        inside = start + column < items
        x = tl.load(here + start + column, mask=inside, other=float("-inf")).to(tl.float32)
        gradient = tl.exp(x - normaliser) - tl.where(start + column == target, 1.0, 0.0)
        tl.store(here + start + column, gradient.to(logits.dtype.element_ty), mask=inside)
