"""Kernels of causal linear attention in chunks of C positions: the state before each chunk, then the chunk itself.

A state is S [K, V] and z [K] side by side, X = K * V + K floats. Slot n of a row of N + 1 slots is the state
that enters chunk n; the last slot leaves the row. Each slot bears the label of one segment, that of the last
position before it, and takes part in sums with slots of the same label only: that is how the state is reset.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator, import-untyped"

import triton
import triton.language as tl

# N chunks, C positions of a chunk, H heads, K key width, V value width; BLOCK_K and BLOCK_V: these, rounded up
# to a power of two from 16, as `tl.dot` needs. One program has one chunk of one head of one row.


@triton.jit
def _place(heads, chunks, C: tl.constexpr):
    """This program's row, head, row and head as one number, chunk, and positions [C]; all int64."""
    pid = tl.program_id(0).to(tl.int64)
    chunk = pid % chunks
    row_head = pid // chunks
    return row_head // heads, row_head % heads, row_head, chunk, chunk * C + tl.arange(0, C)


@triton.jit
def _slot_label(segments, row, slot, length, C: tl.constexpr):
    """The segment of the last position before a slot; before the first slot, that of the first position."""
    last = tl.maximum(tl.minimum(slot * C, length) - 1, 0)
    return tl.load(segments + row * length + last)


@triton.jit
def _tile(x, rows, stride, head, W: tl.constexpr, inside, BLOCK: tl.constexpr):
    """x[rows, head, :W] as float32 [C, BLOCK], zero where not `inside` or past W."""
    column = tl.arange(0, BLOCK)
    at = x + rows[:, None] * stride + head * W + column[None, :]
    return tl.load(at, mask=inside[:, None] & (column < W)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _store_tile(x, rows, head, heads, W: tl.constexpr, inside, BLOCK: tl.constexpr, value):
    """Into contiguous x[rows, head, :W]."""
    column = tl.arange(0, BLOCK)
    at = x + rows[:, None] * (heads * W) + head * W + column[None, :]
    tl.store(at, value.to(x.dtype.element_ty), mask=inside[:, None] & (column < W)[None, :])


@triton.jit
def _load_state(at, K: tl.constexpr, V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr):
    """S [BLOCK_K, BLOCK_V] and z [BLOCK_K] of the slot at pointer `at`."""
    i, j = tl.arange(0, BLOCK_K), tl.arange(0, BLOCK_V)
    inside = (i < K)[:, None] & (j < V)[None, :]
    S = tl.load(at + i[:, None] * V + j[None, :], mask=inside, other=0.0)
    return S, tl.load(at + K * V + i, mask=i < K, other=0.0)


@triton.jit
def _store_state(at, S, z, K: tl.constexpr, V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr):
    i, j = tl.arange(0, BLOCK_K), tl.arange(0, BLOCK_V)
    inside = (i < K)[:, None] & (j < V)[None, :]
    tl.store(at + i[:, None] * V + j[None, :], S, mask=inside)
    tl.store(at + K * V + i, z, mask=i < K)


@triton.jit
def added_kernel(
    k,
    k_rot,
    v,
    segments,
    added,
    length,
    heads,
    chunks,
    k_stride,
    k_rot_stride,
    v_stride,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    C: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """What chunk n adds to the state, into slot n + 1: S += sum k~ v', z += sum k, over its last segment."""
    row, head, row_head, chunk, t = _place(heads, chunks, C)
    inside = t < length
    segment = tl.load(segments + row * length + t, mask=inside, other=0)
    kept = inside & (segment == _slot_label(segments, row, chunk + 1, length, C))
    rows = row * length + t
    key = _tile(k, rows, k_stride, head, K, kept, BLOCK_K)
    key_rot = _tile(k_rot, rows, k_rot_stride, head, K, kept, BLOCK_K)
    value = _tile(v, rows, v_stride, head, V, kept, BLOCK_V)
    S = tl.dot(tl.trans(key_rot), value, input_precision=PRECISION)
    at = added + (row_head * (chunks + 1) + chunk + 1) * (K * V + K)
    _store_state(at, S, tl.sum(key, 0), K, V, BLOCK_K, BLOCK_V)


@triton.jit
def carry_kernel(
    added,
    states,
    segments,
    length,
    heads,
    slots,
    width,
    blocks,
    C: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK: tl.constexpr,
    REVERSE: tl.constexpr,
):
    """states[n] = sum of added[m], m <= n (REVERSE: m >= n), over slots of n's label; [B * H, slots, width].

    SLOTS slots at a time, as a product with their triangle of equal labels; between them the last is carried.
    """
    pid = tl.program_id(0).to(tl.int64)
    row_head = pid // blocks
    row = row_head // heads
    column = (pid % blocks) * BLOCK + tl.arange(0, BLOCK)
    in_width = column < width
    index = tl.arange(0, SLOTS)
    ordered = index[:, None] >= index[None, :]
    carried = tl.full([BLOCK], 0.0, tl.float32)
    before = tl.load(segments + row * length)
    for start in range(0, slots, SLOTS):
        order = start + index
        slot = order
        if REVERSE:
            slot = slots - 1 - order
        valid = order < slots
        label = _slot_label(segments, row, slot, length, C)
        at = (row_head * slots + slot)[:, None] * width + column[None, :]
        there = valid[:, None] & in_width[None, :]
        x = tl.load(added + at, mask=there, other=0.0)
        together = (ordered & (label[:, None] == label[None, :])).to(tl.float32)
        total = tl.dot(together, x, input_precision="ieee")
        total += tl.where(label == before, 1.0, 0.0)[:, None] * carried[None, :]
        tl.store(states + at, total, mask=there)
        last = index == SLOTS - 1
        carried = tl.sum(tl.where(last[:, None], total, 0.0), 0)
        before = tl.sum(tl.where(last, label, 0), 0)


@triton.jit
def output_kernel(
    q,
    k,
    q_rot,
    k_rot,
    v,
    segments,
    states,
    out,
    denominators,
    length,
    heads,
    chunks,
    eps,
    q_stride,
    k_stride,
    q_rot_stride,
    k_rot_stride,
    v_stride,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    C: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """out [B, T, H, V] and the denominators [B, T, H] (eps included) from the states that enter the chunks."""
    row, head, row_head, chunk, t = _place(heads, chunks, C)
    inside = t < length
    segment = tl.load(segments + row * length + t, mask=inside, other=0)
    rows = row * length + t
    key = _tile(k, rows, k_stride, head, K, inside, BLOCK_K)
    key_rot = _tile(k_rot, rows, k_rot_stride, head, K, inside, BLOCK_K)
    query = _tile(q, rows, q_stride, head, K, inside, BLOCK_K)
    query_rot = _tile(q_rot, rows, q_rot_stride, head, K, inside, BLOCK_K)
    value = _tile(v, rows, v_stride, head, V, inside, BLOCK_V)
    at = states + (row_head * (chunks + 1) + chunk) * (K * V + K)
    S, z = _load_state(at, K, V, BLOCK_K, BLOCK_V)

    mask = ((t[:, None] >= t[None, :]) & (segment[:, None] == segment[None, :])).to(tl.float32)
    receives = tl.where(segment == _slot_label(segments, row, chunk, length, C), 1.0, 0.0)[:, None]
    scores = tl.dot(query_rot, tl.trans(key_rot), input_precision=PRECISION) * mask
    numerator = tl.dot(scores, value, input_precision=PRECISION)
    numerator += receives * tl.dot(query_rot, S, input_precision=PRECISION)
    normaliser = tl.dot(mask, key, input_precision=PRECISION) + receives * z[None, :]
    denominator = tl.sum(query * normaliser, 1) + eps
    # Past the row's end all is zero; nothing of it is stored, but nothing is divided by zero either.
    denominator = tl.where(inside, denominator, 1.0)
    tl.store(denominators + rows * heads + head, denominator, mask=inside)
    _store_tile(out, rows, head, heads, V, inside, BLOCK_V, numerator / denominator[:, None])


@triton.jit
def _by_fraction(
    out,
    grad_out,
    denominators,
    rows,
    head,
    heads,
    V: tl.constexpr,
    inside,
    BLOCK_V: tl.constexpr,
):
    """The gradients by numerator [C, BLOCK_V] and denominator [C]."""
    denominator = tl.load(denominators + rows * heads + head, mask=inside, other=1.0)
    by_numerator = _tile(grad_out, rows, heads * V, head, V, inside, BLOCK_V) / denominator[:, None]
    quotient = _tile(out, rows, heads * V, head, V, inside, BLOCK_V)
    return by_numerator, -tl.sum(by_numerator * quotient, 1)


@triton.jit
def grad_added_kernel(
    q,
    q_rot,
    out,
    grad_out,
    denominators,
    segments,
    added,
    length,
    heads,
    chunks,
    q_stride,
    q_rot_stride,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    C: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """What the outputs of chunk n add to the gradient by the state that enters it, into slot n."""
    row, head, row_head, chunk, t = _place(heads, chunks, C)
    inside = t < length
    segment = tl.load(segments + row * length + t, mask=inside, other=0)
    receives = inside & (segment == _slot_label(segments, row, chunk, length, C))
    rows = row * length + t
    by_numerator, by_denominator = _by_fraction(
        out, grad_out, denominators, rows, head, heads, V, receives, BLOCK_V
    )
    query = _tile(q, rows, q_stride, head, K, receives, BLOCK_K)
    query_rot = _tile(q_rot, rows, q_rot_stride, head, K, receives, BLOCK_K)
    S = tl.dot(tl.trans(query_rot), by_numerator, input_precision=PRECISION)
    at = added + (row_head * (chunks + 1) + chunk) * (K * V + K)
    _store_state(at, S, tl.sum(query * by_denominator[:, None], 0), K, V, BLOCK_K, BLOCK_V)


@triton.jit
def grad_inputs_kernel(
    q,
    k,
    q_rot,
    k_rot,
    v,
    segments,
    states,
    grad_states,
    out,
    grad_out,
    denominators,
    grad_q,
    grad_k,
    grad_q_rot,
    grad_k_rot,
    grad_v,
    length,
    heads,
    chunks,
    q_stride,
    k_stride,
    q_rot_stride,
    k_rot_stride,
    v_stride,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    C: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Gradients by q, k, q_rot, k_rot, v of one chunk, from the states around it and the gradients by them."""
    row, head, row_head, chunk, t = _place(heads, chunks, C)
    inside = t < length
    segment = tl.load(segments + row * length + t, mask=inside, other=0)
    rows = row * length + t
    by_numerator, by_denominator = _by_fraction(
        out, grad_out, denominators, rows, head, heads, V, inside, BLOCK_V
    )
    mask = ((t[:, None] >= t[None, :]) & (segment[:, None] == segment[None, :])).to(tl.float32)
    receives = tl.where(segment == _slot_label(segments, row, chunk, length, C), 1.0, 0.0)[:, None]
    kept = tl.where(segment == _slot_label(segments, row, chunk + 1, length, C), 1.0, 0.0)[:, None]
    X: tl.constexpr = K * V + K
    at = (row_head * (chunks + 1) + chunk) * X
    S, z = _load_state(states + at, K, V, BLOCK_K, BLOCK_V)
    grad_S, grad_z = _load_state(grad_states + at + X, K, V, BLOCK_K, BLOCK_V)

    key = _tile(k, rows, k_stride, head, K, inside, BLOCK_K)
    by_query = by_denominator[:, None] * (
        tl.dot(mask, key, input_precision=PRECISION) + receives * z[None, :]
    )
    _store_tile(grad_q, rows, head, heads, K, inside, BLOCK_K, by_query)
    query = _tile(q, rows, q_stride, head, K, inside, BLOCK_K)
    weighted = by_denominator[:, None] * query
    by_key = tl.dot(tl.trans(mask), weighted, input_precision=PRECISION) + kept * grad_z[None, :]
    _store_tile(grad_k, rows, head, heads, K, inside, BLOCK_K, by_key)

    key_rot = _tile(k_rot, rows, k_rot_stride, head, K, inside, BLOCK_K)
    query_rot = _tile(q_rot, rows, q_rot_stride, head, K, inside, BLOCK_K)
    value = _tile(v, rows, v_stride, head, V, inside, BLOCK_V)
    by_scores = tl.dot(by_numerator, tl.trans(value), input_precision=PRECISION) * mask
    by_query_rot = tl.dot(by_scores, key_rot, input_precision=PRECISION)
    by_query_rot += receives * tl.dot(by_numerator, tl.trans(S), input_precision=PRECISION)
    _store_tile(grad_q_rot, rows, head, heads, K, inside, BLOCK_K, by_query_rot)
    by_key_rot = tl.dot(tl.trans(by_scores), query_rot, input_precision=PRECISION)
    by_key_rot += kept * tl.dot(value, tl.trans(grad_S), input_precision=PRECISION)
    _store_tile(grad_k_rot, rows, head, heads, K, inside, BLOCK_K, by_key_rot)
    scores = tl.dot(query_rot, tl.trans(key_rot), input_precision=PRECISION) * mask
    by_value = tl.dot(tl.trans(scores), by_numerator, input_precision=PRECISION)
    by_value += kept * tl.dot(key_rot, grad_S, input_precision=PRECISION)
    _store_tile(grad_v, rows, head, heads, V, inside, BLOCK_V, by_value)
