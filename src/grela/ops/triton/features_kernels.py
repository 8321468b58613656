"""Feature map and rotation of queries and keys in one pass: f = elu(x) + 1, and f turned pair by pair."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, untyped-decorator, import-untyped"

import triton
import triton.language as tl

# R rows (positions of all histories), D width; x [R, 2 D] has the queries, then the keys


@triton.jit
def _place(rows, width, BLOCK_R: tl.constexpr, BLOCK_D: tl.constexpr):
    """This program's rows and columns, and which of them are there; columns run over queries, then keys."""
    pid = tl.program_id(0).to(tl.int64)
    width_blocks = tl.cdiv(2 * width, BLOCK_D)
    r = (pid // width_blocks) * BLOCK_R + tl.arange(0, BLOCK_R)
    d = (pid % width_blocks) * BLOCK_D + tl.arange(0, BLOCK_D)
    return r, d, (r < rows)[:, None] & (d < 2 * width)[None, :]


@triton.jit
def _turn(turns, r, d, width, inside):
    """Cosine and sine of each column's pair; turns [R, D / 2, 2]."""
    at = turns + r[:, None] * width + ((d % width) // 2 * 2)[None, :]
    return tl.load(at, mask=inside, other=1.0), tl.load(at + 1, mask=inside, other=0.0)


@triton.jit
def _positive(x):
    """elu(x) + 1; the exponential's argument is kept from overflowing where it is not taken."""
    return tl.where(x > 0, x + 1.0, tl.exp(tl.minimum(x, 0.0)))


@triton.jit
def features_kernel(
    x,
    turns,
    features,
    rotated,
    rows,
    width,
    x_stride,
    BLOCK_R: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """features and rotated, contiguous [R, 2 D] float32."""
    r, d, inside = _place(rows, width, BLOCK_R, BLOCK_D)
    own = _positive(tl.load(x + r[:, None] * x_stride + d[None, :], mask=inside, other=0.0).to(tl.float32))
    # A pair's other half: column 2i + 1 of 2i and 2i of 2i + 1.
    other = tl.load(x + r[:, None] * x_stride + (d ^ 1)[None, :], mask=inside, other=0.0).to(tl.float32)
    cosine, sine = _turn(turns, r, d, width, inside)
    sign = tl.where(d % 2 == 0, -1.0, 1.0)[None, :]
    at = r[:, None] * (2 * width) + d[None, :]
    tl.store(features + at, own, mask=inside)
    tl.store(rotated + at, own * cosine + sign * sine * _positive(other), mask=inside)


@triton.jit
def grad_features_kernel(
    x,
    turns,
    grad_features,
    grad_rotated,
    grad_x,
    rows,
    width,
    x_stride,
    BLOCK_R: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """The gradient by x, contiguous [R, 2 D]: a rotation's transpose turns back."""
    r, d, inside = _place(rows, width, BLOCK_R, BLOCK_D)
    value = tl.load(x + r[:, None] * x_stride + d[None, :], mask=inside, other=0.0).to(tl.float32)
    at = r[:, None] * (2 * width) + d[None, :]
    own = tl.load(grad_rotated + at, mask=inside, other=0.0)
    other = tl.load(grad_rotated + r[:, None] * (2 * width) + (d ^ 1)[None, :], mask=inside, other=0.0)
    cosine, sine = _turn(turns, r, d, width, inside)
    sign = tl.where(d % 2 == 0, 1.0, -1.0)[None, :]
    by_feature = tl.load(grad_features + at, mask=inside, other=0.0) + own * cosine + sign * sine * other
    slope = tl.where(value > 0, 1.0, tl.exp(tl.minimum(value, 0.0)))
    tl.store(grad_x + at, (by_feature * slope).to(grad_x.dtype.element_ty), mask=inside)
