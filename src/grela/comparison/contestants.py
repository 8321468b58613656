"""The models that can be compared, by name: how each is made, trained and where it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from grela.comparison.outside import implicit_als, lenskit_knn
from grela.configuration import Config
from grela.data.splitting import Split
from grela.errors import ConfigError
from grela.evaluation.floors.item_knn import ItemKNN
from grela.evaluation.floors.markov import MarkovChain
from grela.evaluation.floors.own_frequency import OwnFrequency
from grela.evaluation.floors.recent_popularity import RecentPopularity
from grela.evaluation.popularity import Popularity
from grela.evaluation.scorer import Scorer
from grela.models.bert4rec import BERT4Rec, BERT4RecConfig
from grela.models.gru4rec import GRU4Rec, GRU4RecConfig
from grela.models.hstu import HSTU, HSTUConfig
from grela.models.linear_transformer import LinearTransformer, LinearTransformerConfig
from grela.models.linrec import LinRec, LinRecConfig
from grela.models.lrurec import LRURec, LRURecConfig
from grela.models.mamba4rec import Mamba4Rec, Mamba4RecConfig
from grela.models.sasrec import SASRec, SASRecConfig
from grela.models.sequential import SequentialModel
from grela.recipes import recipe
from grela.training.config import TrainingConfig

# N items


@dataclass(frozen=True)
class Ours:
    """RecGRELA by the settings of a fit."""

    source: str
    config: Config


@dataclass(frozen=True)
class Rival:
    """A model trained by the same loop. `make(N, shape, rng=...)` builds it; `shape` is its own frozen dataclass."""

    source: str
    make: Callable[..., SequentialModel]
    shape: Any
    training: TrainingConfig

    def built(self, num_items: int, rng: torch.Generator) -> SequentialModel:
        """The model with parameters drawn from `rng`."""
        return self.make(num_items, self.shape, rng=rng)


@dataclass(frozen=True)
class Floor:
    """A model that is counted, not trained: no seed changes it."""

    source: str
    fit: Callable[[Split], Scorer]


Contestant = Ours | Rival | Floor

# Every position of windows of 200, full softmax, AdamW at 1e-3 with warm-up and a cosine: for all trained models.
ALIKE = TrainingConfig(epochs=24, learning_rate=1e-3, precision="fp32")

CONTESTANTS: Mapping[str, Contestant] = {
    "recgrela": Ours("Hu et al., arXiv 2506.13315, with the parts of docs/model.md", Config()),
    "sasrec": Rival("Kang and McAuley, ICDM 2018, arXiv 1808.09781", SASRec, SASRecConfig(), ALIKE),
    "sasrec-bce": Rival(
        "Kang and McAuley, ICDM 2018, arXiv 1808.09781, with its own objective",
        SASRec,
        SASRecConfig(),
        replace(ALIKE, loss="binary_cross_entropy", negatives=1),
    ),
    "gsasrec": Rival(
        "Petrov and Macdonald, RecSys 2023, arXiv 2308.07192: gBCE, 256 negatives, calibration .75",
        SASRec,
        SASRecConfig(width=128),
        replace(ALIKE, loss="gbce", negatives=256, calibration=0.75),
    ),
    "bert4rec": Rival(
        "Sun et al., CIKM 2019, arXiv 1904.06690: masked items", BERT4Rec, BERT4RecConfig(), ALIKE
    ),
    "hstu": Rival(
        "Zhai et al., ICML 2024, arXiv 2402.17152, items and order alone", HSTU, HSTUConfig(), ALIKE
    ),
    "hstu-time": Rival(
        "Zhai et al., ICML 2024, arXiv 2402.17152, not told the target's time",
        HSTU,
        HSTUConfig(times=True),
        ALIKE,
    ),
    "gru4rec": Rival(
        "Hidasi et al., ICLR 2016, arXiv 1511.06939; width, layers and dropout of RecBole's search on ML-1M",
        GRU4Rec,
        GRU4RecConfig(),
        ALIKE,
    ),
    "lrurec": Rival("Yue et al., WSDM 2024, arXiv 2310.02367", LRURec, LRURecConfig(), ALIKE),
    "mamba4rec": Rival("Liu et al., arXiv 2403.03900", Mamba4Rec, Mamba4RecConfig(), ALIKE),
    "linear-transformer": Rival(
        "Katharopoulos et al., ICML 2020, arXiv 2006.16236; RecGRELA's sizes",
        LinearTransformer,
        LinearTransformerConfig(),
        ALIKE,
    ),
    # One sample per prefix: the last 50 events, as for the bidirectional form on two cores.
    "linrec": Rival(
        "Liu et al., SIGIR 2023, arXiv 2411.01537", LinRec, LinRecConfig(), replace(ALIKE, window=50)
    ),
    "markov": Floor("first-order Markov chain, smoothed as Witten and Bell, 1991", MarkovChain.fit),
    "item-knn": Floor("Deshpande and Karypis, ACM TOIS 2004", ItemKNN.fit),
    "own-frequency": Floor("GP-TopFreq, Li et al., ACM TOIS 2023, arXiv 2109.14233", OwnFrequency.fit),
    "recent-popularity": Floor("training events weighted by their age", RecentPopularity.fit),
    "popularity": Floor("training events of each item", Popularity.fit),
    "implicit-als": Floor("Hu et al., ICDM 2008, by implicit", implicit_als),
    "lenskit-knn": Floor("Deshpande and Karypis, ACM TOIS 2004, by LensKit", lenskit_knn),
}


VARIANT = "recgrela:"


def contestant(name: str) -> Contestant:
    """The contestant of that name, or RecGRELA by a recipe, "recgrela:RECIPE"; ConfigError listing what there is."""
    if name.startswith(VARIANT):
        return Ours(f"grela's recipe {name.removeprefix(VARIANT)}", recipe(name.removeprefix(VARIANT)))
    if name not in CONTESTANTS:
        raise ConfigError(
            f"no model {name!r} to compare; expected some of {', '.join(CONTESTANTS)}, or {VARIANT}RECIPE"
        )
    return CONTESTANTS[name]
