"""The bidirectional sum over packed histories equals the padded one of each; sums of runs are what their loops say."""

import pytest
import torch
from attention_cases import H, K, V
from torch.nn.utils.rnn import pad_sequence, unpad_sequence

from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import bidirectional, packed_bidirectional, packed_bidirectional_last
from grela.ops.packing import LARGEST_CHUNK, from_chunks, head_places, packing, repeated, sums, to_chunks

ROWS_OF_LENGTHS = pytest.mark.parametrize(
    "lengths", [[1], [7], [1, 1, 1], [31, 32, 33], [100, 1, 2, 65, 3], [2] * 40 + [200]], ids=str
)


def draw(lengths: list[int], device: torch.device) -> list[torch.Tensor]:
    """q, k, q_rot, k_rot [P, H, K] and v [P, H, V]; the rotated pair is drawn apart from q and k."""
    rng = torch.Generator(device).manual_seed(sum(lengths))
    sizes = (K, K, K, K, V)
    drawn = [
        torch.randn(sum(lengths), H, n, generator=rng, device=device, dtype=torch.float64) for n in sizes
    ]
    return [positive_features(drawn[0]), positive_features(drawn[1]), *drawn[2:]]


def padded(q, k, q_rot, k_rot, v, lengths: torch.Tensor):
    """`bidirectional` of one history a row, at the positions that are there, [P, H, V]."""
    rows = [
        pad_sequence(x.split(lengths.tolist()), batch_first=True, padding_value=9.0)
        for x in (q, k, q_rot, k_rot, v)
    ]
    present = torch.arange(rows[0].shape[1], device=v.device) < lengths[:, None]
    out = bidirectional(*rows, present)
    return torch.cat(unpad_sequence(out, lengths.cpu(), batch_first=True))


def with_gradients(form, given: list[torch.Tensor]) -> list[torch.Tensor]:
    """The values, and the gradients of a weighted sum of them by every input."""
    leaves = [x.clone().requires_grad_() for x in given]
    out = form(*leaves)
    rng = torch.Generator(out.device).manual_seed(5)
    (out * torch.randn(out.shape, generator=rng, device=out.device, dtype=out.dtype)).sum().backward()
    return [out.detach(), *(leaf.grad for leaf in leaves)]


@ROWS_OF_LENGTHS
def test_packed_equals_padded_in_values_and_gradients(lengths, device):
    given, lengths = draw(lengths, device), torch.tensor(lengths, device=device)
    packed = packing(lengths)
    found = with_gradients(lambda *x: packed_bidirectional(*x, packed), given)
    expected = with_gradients(lambda *x: padded(*x, lengths), given)
    assert found[0].shape == (lengths.sum(), H, V)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@ROWS_OF_LENGTHS
def test_the_last_event_alone_is_the_whole_at_the_last_event(lengths, device):
    given, packed = draw(lengths, device), packing(torch.tensor(lengths, device=device))

    def last(q, k, q_rot, k_rot, v):
        return packed_bidirectional_last(q[packed.last], k, q_rot[packed.last], k_rot, v, packed)

    found = with_gradients(last, given)
    expected = with_gradients(lambda *x: packed_bidirectional(*x, packed)[packed.last], given)
    assert found[0].shape == (len(lengths), H, V)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_nothing_of_one_history_reaches_another():
    """Values bit-identical, gradients exactly zero."""
    given, packed = draw([5, 40, 3], torch.device("cpu")), packing(torch.tensor([5, 40, 3]))
    outside = packed.segments != 1
    before = packed_bidirectional(*given, packed)
    changed = [torch.where(outside[:, None, None], x, 1e6 * x) for x in given]
    assert torch.equal(packed_bidirectional(*changed, packed)[outside], before[outside])
    leaves = [x.clone().requires_grad_() for x in given]
    packed_bidirectional(*leaves, packed)[outside].sum().backward()
    for leaf in leaves:
        assert not leaf.grad[~outside].any()
        assert leaf.grad[outside].any()


@ROWS_OF_LENGTHS
def test_a_packing_says_where_everything_lies(lengths, device):
    packed = packing(torch.tensor(lengths, device=device))
    total = sum(lengths)
    pairs = [(b, t) for b, length in enumerate(lengths) for t in range(length)]
    assert list(zip(packed.segments.tolist(), packed.positions.tolist(), strict=True)) == pairs
    assert packed.last.tolist() == [sum(lengths[: b + 1]) - 1 for b in range(len(lengths))]
    assert packed.longest == max(lengths)
    assert packed.taken.shape[1] <= LARGEST_CHUNK
    # Each position has a place of its own, in a chunk of its own history.
    assert torch.equal(packed.taken[packed.chunk, packed.within], torch.arange(total, device=device))
    assert (packed.taken == total).sum() == packed.taken.numel() - total
    assert torch.equal(packed.owner[packed.chunk], packed.segments)
    assert torch.equal(packed.owner.bincount(), packed.chunks)


def test_idle_places_are_few():
    """Fewer than there are positions, whatever the lengths."""
    for lengths in ([1] * 50, [2] * 50, [3] * 50, [9] * 50, [40] * 50, [200] * 9, [1] * 50 + [70]):
        packed = packing(torch.tensor(lengths))
        assert packed.taken.numel() < 2 * sum(lengths)


def test_a_packing_moves_whole(device):
    packed, moved = packing(torch.tensor([3, 1])), packing(torch.tensor([3, 1])).to(device)
    assert moved.longest == packed.longest == 3
    for name, tensor in vars(packed).items():
        if isinstance(tensor, torch.Tensor):
            assert getattr(moved, name).device.type == device.type
            assert torch.equal(getattr(moved, name).cpu(), tensor)


def test_sums_and_repeats_of_runs_are_adjoint(device):
    lengths = torch.tensor([2, 1, 4], device=device)
    owner = torch.repeat_interleave(lengths)
    rng = torch.Generator(device).manual_seed(0)
    x = torch.randn(7, 3, generator=rng, device=device, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 3, generator=rng, device=device, dtype=torch.float64, requires_grad=True)
    expected = torch.stack([part.sum(0) for part in x.split(lengths.tolist())])
    torch.testing.assert_close(sums(x, lengths, owner), expected)
    assert torch.equal(repeated(y, lengths, owner), y[owner])
    (by_x,) = torch.autograd.grad((sums(x, lengths, owner) * y.detach()).sum(), x)
    assert torch.equal(by_x, repeated(y, lengths, owner))
    (by_y,) = torch.autograd.grad((repeated(y, lengths, owner) * x.detach()).sum(), y)
    torch.testing.assert_close(by_y, sums(x, lengths, owner))


def test_chunks_hold_every_position_once_and_zero_elsewhere(device):
    packed = packing(torch.tensor([5, 40, 3], device=device))
    places = head_places(packed, H)
    rng = torch.Generator(device).manual_seed(0)
    x = torch.randn(48, H, K, generator=rng, device=device, dtype=torch.float64, requires_grad=True)
    chunks = to_chunks(x, places)
    assert chunks.shape == (len(packed.owner), H, packed.taken.shape[1], K)
    for n, h, c in ((0, 0, 4), (1, 2, 0), (1, 1, 7), (2, 0, 1)):
        at = int(packed.taken[n, c])
        assert torch.equal(chunks[n, h, c], x[at, h])
    idle = (packed.taken == 48).unsqueeze(1).expand(-1, H, -1)
    assert idle.any()
    assert not chunks[idle].any()
    assert torch.equal(from_chunks(chunks, places), x)
    weights = torch.randn(chunks.shape, generator=rng, device=device, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((chunks * weights).sum(), x)
    assert torch.equal(gradient, from_chunks(weights, places))
