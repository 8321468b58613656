"""How a model is trained: every number that decides the result, refused early if it is nonsense."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from grela.errors import ConfigError

LossName = Literal[
    "softmax",
    "softmax_without_seen",
    "sampled_softmax",
    "classic_sampled_softmax",
    "gbce",
    "binary_cross_entropy",
    "scalable_cross_entropy",
]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Defaults train the causal form of a set the size of ML-1M; docs/ideas.md says how they came about.

    epochs:          passes over the training events; early stopping may end sooner
    window:          positions of a history seen together in training; longer histories are cut into
                     windows at a place drawn anew each epoch, so every event trains in every epoch
    histories:       "windows" cuts them so; "carried" reads them whole, in pieces of at least a window: each
                     goes on from the state that the one before ended with, and only gradients stop between
                     them. For causal models of histories much longer than a window
    batch_positions: at most so many positions in one optimiser step, of all histories or prefixes in it; 0
                     leaves it to the number of training events, see `sized_for`
    rows:            at most so many parts of a step, computed side by side by threads or ranks and then added up;
                     a part has at least 512 positions (prefixes 2,048) and a window. Other parts, other draws
    item_table:      "replicated": every rank holds it; "sharded": each holds a part of its rows and their row-wise
                     Adagrad (TorchRec), for tables that no device holds. See docs/distributed.md
    learning_rate:   peak rate of AdamW, after `warmup_steps` of linear rise
    loss:            what is minimised: "softmax" over all items; "softmax_without_seen" over those not yet met by
                     the position's user; from 100,000 items up "sampled_softmax", "classic_sampled_softmax",
                     "gbce" or "scalable_cross_entropy", which touch few items a step; "binary_cross_entropy" is
                     SASRec's; see grela.ops.losses
    negatives:       items drawn for each row of a step; for binary_cross_entropy for each position (1 is SASRec's
                     number, and hundreds take gigabytes); for scalable_cross_entropy in each bucket
    frequency_power: negatives are drawn in proportion to (training events of the item + 1) to this power; 0 is
                     uniform
    calibration:     of gbce: 0 is binary cross-entropy, 1 gives probabilities
    schedule:        "cosine" lowers the rate from its peak to zero along half a cosine; "constant" keeps it
    clip_norm:       the gradient's norm is cut to this
    patience:        epochs without a better validation NDCG@10 before training stops; 0 never stops
    precision:       "bf16" forms products in bfloat16, sums and weights in float32; "auto" is bf16 where
                     the processor multiplies it, else "fp32"
    kernels:         "compiled" computes blocks and softmax by C++ kernels, compiled on first use; "triton" on CUDA
                     by Triton's; "torch" by PyTorch's operators; "auto" is the former two where device, compiler
                     and model allow it. They are equal, but dropout draws other places
    checkpoint_seconds: at most this long between two checkpoints
    """

    epochs: int = 24
    window: int = 200
    histories: Literal["windows", "carried"] = "windows"
    batch_positions: int = 0
    rows: int = 4
    loss: LossName = "softmax"
    negatives: int = 512
    frequency_power: float = 0.0
    calibration: float = 0.75
    item_table: Literal["replicated", "sharded"] = "replicated"
    learning_rate: float = 3e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 150
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    patience: int = 10
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    kernels: Literal["auto", "torch", "compiled", "triton"] = "auto"
    checkpoint_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("window", 2),
            ("batch_positions", 0),
            ("rows", 1),
            ("negatives", 1),
            ("warmup_steps", 0),
            ("patience", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least {least}")
        for name in ("learning_rate", "clip_norm", "checkpoint_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}, expected a positive number")
        if not 0 <= self.weight_decay < 1:
            raise ConfigError(f"weight_decay is {self.weight_decay}, expected at least 0 and less than 1")
        if self.loss not in get_args(LossName):
            raise ConfigError(f"loss is {self.loss!r}, expected one of {', '.join(get_args(LossName))}")
        for name in ("frequency_power", "calibration"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if self.schedule not in ("cosine", "constant"):
            raise ConfigError(f"schedule is {self.schedule!r}, expected 'cosine' or 'constant'")
        if self.histories not in ("windows", "carried"):
            raise ConfigError(f"histories is {self.histories!r}, expected 'windows' or 'carried'")
        if self.item_table not in ("replicated", "sharded"):
            raise ConfigError(f"item_table is {self.item_table!r}, expected 'replicated' or 'sharded'")
        if self.item_table == "sharded" and self.loss != "sampled_softmax":
            raise ConfigError(
                f"item_table is 'sharded', but loss is {self.loss!r}: take 'sampled_softmax', which reads few rows"
            )
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ConfigError(f"precision is {self.precision!r}, expected 'auto', 'bf16' or 'fp32'")
        if self.kernels not in ("auto", "torch", "compiled", "triton"):
            raise ConfigError(
                f"kernels is {self.kernels!r}, expected 'auto', 'torch', 'compiled' or 'triton'"
            )
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, expected 0 to 2**63 - 1")
        if 0 < self.batch_positions < self.window:
            raise ConfigError(
                f"window {self.window} is more than batch_positions {self.batch_positions}: "
                "a window must fit into one step; lower the one or raise the other"
            )

    def sized_for(self, events: int, *, form: str) -> "TrainingConfig":
        """This with `batch_positions` filled in where it is 0, for so many training events.

        Causal: as many as make 300 steps an epoch, from 1,024 to 6,400 (small steps learn more in an epoch;
        beyond 6,400 nothing is faster). Bidirectional: 128 whole windows.
        """
        if self.batch_positions:
            return self
        causal = max(self.window, min(6400, max(1024, events // 300)))
        return replace(self, batch_positions=causal if form == "causal" else 128 * self.window)
