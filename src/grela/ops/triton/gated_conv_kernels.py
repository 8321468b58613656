"""Short convolution, SiLU and gate in one pass: u = (attended + silu(conv(value))) * silu(gate)."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator, import-untyped"

import triton
import triton.language as tl

# B batch, T time, D width, W taps; one program has BLOCK_T positions of BLOCK_D columns of one row


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _place(length, width, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr):
    """This program's block of positions (counted over all rows), row, positions [BLOCK_T], columns [BLOCK_D]."""
    pid = tl.program_id(0).to(tl.int64)
    width_blocks = tl.cdiv(width, BLOCK_D)
    time_blocks = tl.cdiv(length, BLOCK_T)
    block = pid // width_blocks
    t = (block % time_blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    d = (pid % width_blocks) * BLOCK_D + tl.arange(0, BLOCK_D)
    return block, block // time_blocks, t, d


@triton.jit
def _before(value, stride, tail, segments, row, t, d, inside, length, width, back, TAPS: tl.constexpr):
    """value at t - back, or the tail's where that lies before the row; zero in another segment."""
    source = t - back
    segment = tl.load(segments + row * length + t, mask=t < length, other=0)
    its = tl.load(segments + row * length + tl.maximum(source, 0), mask=t < length, other=0)
    same = inside & (segment == its)[:, None]
    in_row = (source >= 0)[:, None]
    at = (row * length + source)[:, None] * stride + d[None, :]
    x = tl.load(value + at, mask=same & in_row, other=0.0).to(tl.float32)
    if TAPS > 1:
        at = (row * (TAPS - 1) + source + TAPS - 1)[:, None] * width + d[None, :]
        x += tl.load(tail + at, mask=same & ~in_row, other=0.0).to(tl.float32)
    return x


@triton.jit
def gated_conv_kernel(
    attended,
    value,
    gate,
    weight,
    bias,
    segments,
    tail,
    out,
    length,
    width,
    attended_stride,
    value_stride,
    gate_stride,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """u [B, T, D], contiguous."""
    _, row, t, d = _place(length, width, BLOCK_T, BLOCK_D)
    inside = (t < length)[:, None] & (d < width)[None, :]
    rows = (row * length + t)[:, None]
    y = tl.load(bias + d, mask=d < width, other=0.0).to(tl.float32)[None, :]
    for back in tl.static_range(TAPS):
        x = _before(value, value_stride, tail, segments, row, t, d, inside, length, width, back, TAPS)
        w = tl.load(weight + d * TAPS + TAPS - 1 - back, mask=d < width, other=0.0).to(tl.float32)
        y += x * w[None, :]
    a = tl.load(attended + rows * attended_stride + d[None, :], mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gate + rows * gate_stride + d[None, :], mask=inside, other=0.0).to(tl.float32)
    u = (a + y * _sigmoid(y)) * (g * _sigmoid(g))
    tl.store(out + rows * width + d[None, :], u.to(out.dtype.element_ty), mask=inside)


@triton.jit
def grad_branches_kernel(
    attended,
    value,
    gate,
    weight,
    bias,
    segments,
    tail,
    grad_out,
    grad_attended,
    grad_gate,
    grad_conv,
    partial,
    length,
    width,
    attended_stride,
    value_stride,
    gate_stride,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Gradients by attended, gate and the convolution's output; this block's part of those by its parameters.

    partial [blocks, W + 1, D]: by each tap, and by the bias.
    """
    block, row, t, d = _place(length, width, BLOCK_T, BLOCK_D)
    inside = (t < length)[:, None] & (d < width)[None, :]
    rows = (row * length + t)[:, None]
    y = tl.load(bias + d, mask=d < width, other=0.0).to(tl.float32)[None, :]
    for back in tl.static_range(TAPS):
        x = _before(value, value_stride, tail, segments, row, t, d, inside, length, width, back, TAPS)
        w = tl.load(weight + d * TAPS + TAPS - 1 - back, mask=d < width, other=0.0).to(tl.float32)
        y += x * w[None, :]
    a = tl.load(attended + rows * attended_stride + d[None, :], mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gate + rows * gate_stride + d[None, :], mask=inside, other=0.0).to(tl.float32)
    by_u = tl.load(grad_out + rows * width + d[None, :], mask=inside, other=0.0).to(tl.float32)
    y_sigmoid, g_sigmoid = _sigmoid(y), _sigmoid(g)
    by_a = by_u * g * g_sigmoid
    by_g = by_u * (a + y * y_sigmoid) * g_sigmoid * (1.0 + g * (1.0 - g_sigmoid))
    by_y = by_a * y_sigmoid * (1.0 + y * (1.0 - y_sigmoid))
    at = rows * width + d[None, :]
    tl.store(grad_attended + at, by_a.to(grad_attended.dtype.element_ty), mask=inside)
    tl.store(grad_gate + at, by_g.to(grad_gate.dtype.element_ty), mask=inside)
    tl.store(grad_conv + at, by_y, mask=inside)
    parts = partial + block * (TAPS + 1) * width + d
    tl.store(parts + TAPS * width, tl.sum(by_y, 0), mask=d < width)
    for back in tl.static_range(TAPS):
        x = _before(value, value_stride, tail, segments, row, t, d, inside, length, width, back, TAPS)
        tl.store(parts + (TAPS - 1 - back) * width, tl.sum(by_y * x, 0), mask=d < width)


@triton.jit
def grad_past_kernel(
    grad_conv,
    weight,
    segments,
    grad_value,
    grad_tail,
    length,
    width,
    TAPS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Gradients by value [B, T, D] and tail [B, W - 1, D]; positions count from the tail's first."""
    _, row, place, d = _place(length + TAPS - 1, width, BLOCK_T, BLOCK_D)
    t = place - (TAPS - 1)
    in_width = (d < width)[None, :]
    segment = tl.load(segments + row * length + tl.maximum(t, 0), mask=t < length, other=0)
    total = tl.full([BLOCK_T, BLOCK_D], 0.0, tl.float32)
    for ahead in tl.static_range(TAPS):
        reader = t + ahead
        there = (t < length) & (reader >= 0) & (reader < length)
        its = tl.load(segments + row * length + reader, mask=there, other=0)
        at = (row * length + reader)[:, None] * width + d[None, :]
        mask = (there & (its == segment))[:, None] & in_width
        w = tl.load(weight + d * TAPS + TAPS - 1 - ahead, mask=d < width, other=0.0).to(tl.float32)
        total += tl.load(grad_conv + at, mask=mask, other=0.0) * w[None, :]
    in_row = ((t >= 0) & (t < length))[:, None] & in_width
    at = (row * length + t)[:, None] * width + d[None, :]
    tl.store(grad_value + at, total.to(grad_value.dtype.element_ty), mask=in_row)
    if TAPS > 1:
        at = (row * (TAPS - 1) + place)[:, None] * width + d[None, :]
        tl.store(grad_tail + at, total.to(grad_tail.dtype.element_ty), mask=(t < 0)[:, None] & in_width)
