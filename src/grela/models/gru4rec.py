"""GRU4Rec (Hidasi et al., ICLR 2016, arXiv 1511.06939): a gated recurrent unit over the embeddings of items.

    x_t = Dropout(Embedding[item_t]);   h_t = GRU(x_t, h_{t-1}), layer upon layer;   score = (h_t W + b) . Embedding[i]

Input and output share one table, as the authors' improved version has it (CIKM 2018, arXiv 1706.03847, "constrained
embedding"); W is there where the unit's width is not the table's. Their losses sample items within a batch of sessions;
here the model learns as all others do. The unit is PyTorch's: its reset gate r acts on U h, in r * (U h + c), and the
paper's on h, in U (r * h); the authors' own PyTorch code takes the former too, and begins the
unit and W by Xavier's rule, as here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grela.models.sequential import Padded, SequentialModel
from grela.nn.init import XavierLinear, initialise
from grela.ops.dropout import dropout

# S histories, T time, D width


@dataclass(frozen=True, kw_only=True)
class GRU4RecConfig:
    """RecBole's for ML-1M: its defaults, and the layers that its search found best on validation.

    That is benchmark/hyper/sequential/GRU4Rec-ml-1m_seq.md there. The authors measured sessions of shops and of videos,
    by one layer of 100 to 512.
    """

    width: int = 64
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.3


class GRU4Rec(SequentialModel):
    """The model; reads histories of any length."""

    def __init__(self, num_items: int, config: GRU4RecConfig, *, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(num_items + 1, config.width)
            self.gru = nn.GRU(config.width, config.hidden, config.layers, batch_first=True)
            self.out = None if config.hidden == config.width else XavierLinear(config.hidden, config.width)
        self.to_empty(device=rng.device)
        initialise(self, rng)

    def hidden(self, histories: Padded, rng: torch.Generator | None = None) -> Tensor:
        """The last layer's hidden states [S, T, D] of every event, in the table's width."""
        x = dropout(self.embedding(histories.items), self.config.dropout, rng)
        hidden: Tensor = self.gru(x)[0]
        return hidden if self.out is None else self.out(hidden)
