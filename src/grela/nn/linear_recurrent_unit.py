"""The linear recurrent unit (Orvieto et al., ICML 2023, arXiv 2303.06349) as LRURec has it (arXiv 2310.02367).

    h_t = lambda h_{t-1} + gamma (W x_t + b)      complex, each of 2 D channels by itself
    y_t = Re(V h_t + c)
    lambda = exp(-exp(nu) + i exp(theta))         so that |lambda| < 1 whatever is learnt

It begins with lambda spread evenly over a ring of the complex plane, and with gamma = sqrt(1 - |lambda|^2), which keeps
h as large as its inputs.
"""

import math

import torch
from torch import Tensor, nn

from grela.ops.linear_recurrence import parallel

# S histories, T time, D width, H channels

# The ring of LRURec's code: |lambda| at the start.
SMALLEST, LARGEST = 0.8, 0.99


class LinearRecurrentUnit(nn.Module):
    """x [S, T, D] gives [S, T, D], causal. The complex maps are real ones of real and imaginary parts side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = 2 * width
        self.log_nu = nn.Parameter(torch.empty(channels))
        self.log_theta = nn.Parameter(torch.empty(channels))
        self.log_gamma = nn.Parameter(torch.empty(channels))
        self.into = nn.Linear(width, 2 * channels)
        self.out = nn.Linear(2 * channels, width)

    def start_from(self, rng: torch.Generator) -> None:
        """|lambda|^2 and its angle uniform, so that lambda is uniform on the ring's area."""
        with torch.no_grad():
            squared = self.log_nu.new_empty(self.log_nu.shape).uniform_(
                SMALLEST**2, LARGEST**2, generator=rng
            )
            self.log_nu.copy_((-0.5 * squared.log()).log())
            self.log_gamma.copy_(0.5 * (1 - squared).log())
            # From 0, exclusive, to 1: the angle has a logarithm.
            turn = 1 - torch.empty_like(squared).uniform_(generator=rng)
            self.log_theta.copy_((2 * math.pi * turn).log())

    def decay(self) -> Tensor:
        """lambda, complex [H]."""
        return torch.polar((-self.log_nu.exp()).exp(), self.log_theta.exp())

    def forward(self, x: Tensor) -> Tensor:
        """Causal; nothing is remembered from another call."""
        # States stay in float32 whatever the maps around them ran in.
        inputs = torch.view_as_complex(self.into(x).to(self.log_nu.dtype).unflatten(-1, (-1, 2)))
        empty = inputs.new_zeros(x.shape[0], inputs.shape[-1])
        states, _ = parallel(inputs * self.log_gamma.exp(), self.decay(), empty)
        y: Tensor = self.out(torch.view_as_real(states).flatten(-2))
        return y
