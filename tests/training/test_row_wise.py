"""Row-wise Adam does what its docstring says, to the rows of the gradient and to no other."""

import math

import pytest
import torch
from torch import nn

from grela.errors import CheckpointError
from grela.training.config import TrainingConfig
from grela.training.optimiser import clip_gradients, optimiser_tensors, optimisers, restore_optimisers
from grela.training.row_wise import EPS, RowWiseAdam

R, D = 7, 3


def sparse(rows: list[int], seed: int) -> torch.Tensor:
    """A gradient of a table [R, D]; rows may repeat, and are then not yet summed."""
    values = torch.randn(len(rows), D, generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (R, D), check_invariants=True)


def steps(gradients: list[torch.Tensor]) -> tuple[torch.Tensor, RowWiseAdam]:
    table = nn.Parameter(torch.ones(R, D))
    optimiser = RowWiseAdam([table], lr=0.1, average=0.9)
    for gradient in gradients:
        table.grad = gradient
        optimiser.step()
    return table.detach(), optimiser


def by_hand(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The three lines of the docstring in Python's own numbers."""
    table, squares = [[1.0] * D for _ in range(R)], [0.0] * R
    for gradient in gradients:
        for r in set(gradient._indices()[0].tolist()):
            g = gradient.to_dense()[r].tolist()
            mean = sum(x * x for x in g) / D
            squares[r] = 0.9 * squares[r] + 0.1 * mean if squares[r] else mean
            table[r] = [w - 0.1 * x / (math.sqrt(squares[r]) + EPS) for w, x in zip(table[r], g, strict=True)]
    return torch.tensor(table)


GRADIENTS = [sparse([2, 5, 2], 0), sparse([5, 1], 1), sparse([2], 2), sparse([5, 5, 5, 0], 3)]


def test_it_is_the_formula():
    torch.testing.assert_close(steps(GRADIENTS)[0], by_hand(GRADIENTS), rtol=1e-5, atol=1e-6)


def test_a_dense_gradient_is_one_that_has_every_row():
    rows = sparse([3, 0, 1, 2, 6, 5, 4], 4)
    torch.testing.assert_close(steps([rows.to_dense()])[0], steps([rows])[0], rtol=0, atol=0)


def test_other_rows_keep_their_bits_and_their_state():
    table, optimiser = steps(GRADIENTS)
    untouched = [3, 4, 6]
    assert torch.equal(table[untouched], torch.ones(3, D))
    square = next(iter(optimiser.state.values()))["square"]
    assert square.shape == (R,)
    assert not square[untouched].any()
    assert (square[[0, 1, 2, 5]] > 0).all()


def test_the_first_step_of_a_row_has_the_rate_as_its_root_mean_square():
    moved = steps([sparse([4], 0)])[0][4] - 1
    assert moved.square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-4)


class Model(nn.Module):
    def __init__(self, seed: int = 0, *, is_sparse: bool = True) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(R, D, sparse=is_sparse)
        self.linear = nn.Linear(D, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=rng)

    def learn(self, items: list[int]) -> None:
        self.zero_grad()
        self.linear(self.table(torch.tensor(items))).square().sum().backward()


def advance(model: Model, parts: list[torch.optim.Optimizer], items: list[int]) -> None:
    model.learn(items)
    for part in parts:
        part.step()


def test_only_tables_with_sparse_gradients_are_row_wise():
    adamw, rows = optimisers(Model(), TrainingConfig())
    assert isinstance(rows, RowWiseAdam)
    assert [p.shape for group in rows.param_groups for p in group["params"]] == [(R, D)]
    assert [p.shape for group in adamw.param_groups for p in group["params"]] == [(2, D), (2,)]
    (alone,) = optimisers(Model(is_sparse=False), TrainingConfig())
    assert isinstance(alone, torch.optim.AdamW)


def test_restored_it_takes_the_identical_next_step():
    model, other = Model(0), Model(1)
    parts, restored = (optimisers(m, TrainingConfig()) for m in (model, other))
    for items in ([1, 2], [2, 3, 3]):
        advance(model, parts, items)
    tensors = {name: x.clone() for name, x in optimiser_tensors(model, parts).items()}
    assert tensors["table.weight:square"].shape == (R,)
    other.load_state_dict(model.state_dict())
    restore_optimisers(other, restored, tensors)
    for items in ([3, 1], [2, 5]):
        advance(model, parts, items)
        advance(other, restored, items)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("from_sparse", [True, False])
def test_the_state_of_another_optimiser_is_refused(from_sparse):
    model, other = Model(is_sparse=from_sparse), Model(is_sparse=not from_sparse)
    parts = optimisers(model, TrainingConfig())
    advance(model, parts, [1, 2])
    with pytest.raises(CheckpointError, match="which this model has not"):
        restore_optimisers(other, optimisers(other, TrainingConfig()), optimiser_tensors(model, parts))


@pytest.mark.parametrize("norm", [0.5, 1e6])
def test_gradients_are_clipped_alike_whether_sparse_or_dense(norm):
    """Row 2 comes three times: its gradients count as their sum."""
    found, expected = Model(is_sparse=True), Model(is_sparse=False)
    for model in (found, expected):
        model.learn([2, 4, 2, 2])
    assert not found.table.weight.grad.is_coalesced()
    clip_gradients(list(found.parameters()), norm)
    total = nn.utils.clip_grad_norm_(expected.parameters(), norm)
    assert 0.5 < total < 1e6
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a.grad.to_dense(), b.grad, rtol=1e-6, atol=1e-7)


def test_dense_gradients_are_clipped_to_the_bits_of_torchs_own():
    found, expected = Model(is_sparse=False), Model(is_sparse=False)
    for model in (found, expected):
        model.learn([2, 4, 2, 2])
    clip_gradients(list(found.parameters()), 0.5)
    nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
