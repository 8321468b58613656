"""Every model that is compared with RecGRELA, small, for the laws of tests/training/test_sequential_models.py."""

from collections.abc import Callable

import torch

from grela.models.bert4rec import BERT4Rec, BERT4RecConfig
from grela.models.gru4rec import GRU4Rec, GRU4RecConfig
from grela.models.hstu import HSTU, HSTUConfig
from grela.models.linear_transformer import LinearTransformer, LinearTransformerConfig
from grela.models.linrec import LinRec, LinRecConfig
from grela.models.lrurec import LRURec, LRURecConfig
from grela.models.mamba4rec import Mamba4Rec, Mamba4RecConfig
from grela.models.sasrec import SASRec, SASRecConfig
from grela.models.sequential import Padded, SequentialModel

ITEMS, WIDTH, LONGEST = 23, 16, 12

Build = Callable[[int, torch.Generator], SequentialModel]

CAUSAL: dict[str, Build] = {
    "gru4rec": lambda n, rng: GRU4Rec(n, GRU4RecConfig(width=WIDTH, hidden=20), rng=rng),
    "lrurec": lambda n, rng: LRURec(n, LRURecConfig(width=WIDTH), rng=rng),
    "mamba4rec": lambda n, rng: Mamba4Rec(n, Mamba4RecConfig(width=WIDTH, state=5), rng=rng),
    "sasrec": lambda n, rng: SASRec(n, SASRecConfig(width=WIDTH, positions=LONGEST), rng=rng),
    "linear-transformer": lambda n, rng: LinearTransformer(
        n, LinearTransformerConfig(width=WIDTH, layers=2, positions=LONGEST), rng=rng
    ),
    "hstu": lambda n, rng: HSTU(n, HSTUConfig(width=WIDTH, positions=LONGEST), rng=rng),
    "hstu-time": lambda n, rng: HSTU(n, HSTUConfig(width=WIDTH, positions=LONGEST, times=True), rng=rng),
}
BIDIRECTIONAL: dict[str, Build] = {
    "linrec": lambda n, rng: LinRec(
        n, LinRecConfig(width=WIDTH, heads=4, inner=2 * WIDTH, positions=LONGEST), rng=rng
    ),
    "bert4rec": lambda n, rng: BERT4Rec(n, BERT4RecConfig(width=WIDTH, positions=LONGEST), rng=rng),
}
MODELS = CAUSAL | BIDIRECTIONAL
MASKED = {"bert4rec"}  # taught by masked items: of a step's items so few that learning takes more steps


def made(name: str, *, seed: int = 0) -> SequentialModel:
    """A model whose weights are so large that each part matters, as after a training."""
    rng = torch.Generator().manual_seed(seed)
    model = MODELS[name](ITEMS, rng)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=rng))
    return model


def histories(*lengths: int, longest: int | None = None, seed: int = 1) -> Padded:
    """Random histories with random times, padded to `longest`."""
    rng = torch.Generator().manual_seed(seed)
    T = longest or max(lengths)
    items = torch.randint(1, ITEMS + 1, (len(lengths), T), generator=rng)
    gaps = torch.randint(0, 100_000, (len(lengths), T), generator=rng)
    gaps[:, 0] = 0
    found = Padded(items, torch.tensor(lengths), gaps.cumsum(1).double())
    return Padded(items * found.present, found.lengths, found.times * found.present)
