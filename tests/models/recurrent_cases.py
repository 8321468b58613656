"""What the tests of GRU4Rec, LRURec and Mamba4Rec share: weights the size of trained ones, and histories."""

import numpy as np
import torch

from grela.models.sequential import Padded, SequentialModel

ITEMS = 11
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def trained_size(model: SequentialModel) -> SequentialModel:
    """In float64: embeddings of size 1, maps that keep a unit input at unit size, the rest moved from its start."""
    rng = torch.Generator().manual_seed(5)
    model = model.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            if name == "embedding.weight":
                parameter.copy_(drawn)
            elif parameter.ndim == 1 or "log" in name:
                parameter.add_(0.3 * drawn)
            else:
                parameter.copy_(drawn / parameter[0].numel() ** 0.5)
    return model


def arrays(model: SequentialModel) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


def histories(*lengths: int) -> Padded:
    rng = torch.Generator().manual_seed(1)
    found = Padded(
        torch.randint(1, ITEMS + 1, (len(lengths), max(lengths)), generator=rng), torch.tensor(lengths)
    )
    return Padded(found.items * found.present, found.lengths)


def assert_equals_loops(model: SequentialModel, loops) -> None:
    """Every hidden state is that of `loops`, a function of parameters and one history of item ids."""
    given = histories(9, 1, 2, 6)
    with torch.no_grad():
        found = model.hidden(given)
    for s, length in enumerate(given.lengths.tolist()):
        expected = loops(arrays(model), given.items[s, :length].tolist())
        np.testing.assert_allclose(found[s, :length].numpy(), expected, **CLOSE)


def assert_bfloat16_changes_little(model: SequentialModel) -> None:
    """Values and gradients, of products in bfloat16, which has three digits."""
    model, given = model.float(), histories(9, 4)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            hidden = model.last_hidden(given)
        gradients = torch.autograd.grad(hidden.float().square().sum(), list(model.parameters()))
        found.append([hidden.detach().float(), *gradients])
    for exact, rough in zip(*found, strict=True):
        assert 0 < (rough - exact).norm() < 0.1 * exact.norm()
