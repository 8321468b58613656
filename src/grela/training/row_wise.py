"""Row-wise Adam: an optimiser for tables of millions of rows, with one number of state a row.

    v_r <- mean(g_r ** 2)                           at the first gradient of row r
    v_r <- b v_r + (1 - b) mean(g_r ** 2)           at each later one
    w_r <- w_r - rate g_r / (sqrt(v_r) + eps)

Only rows in the gradient are touched: a row's average decays with the row's own gradients, not with time. One
second moment for a whole row is that of row-wise Adagrad (FBGEMM's EXACT_ROWWISE_ADAGRAD, which sums the squares
for ever); an average keeps the steps of frequent rows from dying out, and takes the rate and the schedule of the
AdamW beside it. There is no first moment: it would be a second table.
"""

import torch
from torch import Tensor, nn

EPS = 1e-8


class RowWiseAdam(torch.optim.Optimizer):
    """For tables [R, D]; gradients sparse or dense (then every row is touched). State: "square" float32 [R]."""

    def __init__(self, tables: list[nn.Parameter], *, lr: float, average: float) -> None:
        super().__init__(tables, {"lr": lr, "average": average})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: gradients are there before the step
        """Take one step by the gradients that there are."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, table.grad, group["lr"], group["average"])

    def _update(self, table: Tensor, gradient: Tensor, rate: float, average: float) -> None:
        state = self.state[table]
        if not state:
            state["square"] = torch.zeros(len(table), device=table.device)
        rows, gradient = rows_of(gradient)
        new = gradient.float().square().mean(1)
        old = state["square"][rows]
        square = torch.where(old == 0, new, old.lerp(new, 1 - average))
        state["square"][rows] = square
        step = gradient * (-rate / (square.sqrt() + EPS))[:, None]
        table.index_add_(0, rows, step.to(table.dtype))


def rows_of(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows [r] that a gradient of a table has, and their gradients [r, D]."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    return torch.arange(len(gradient), device=gradient.device), gradient
