"""A table of embeddings in stretches of rows, one a rank: TorchRec's row-wise sharding, with fused row-wise Adagrad.

    s_r <- s_r + mean(g_r ** 2)
    w_r <- w_r - rate g_r / (sqrt(s_r) + eps)

g_r is the gradient of row r summed over everything that any rank read it for; rows without a gradient stay as they are
(Duchi, Hazan and Singer, JMLR 12, 2011, one sum a row; FBGEMM's EXACT_ROWWISE_ADAGRAD). The optimiser is part of the
backward pass, so no gradient of the table's size ever exists, on a rank's stretch neither.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from grela.errors import ConfigError
from grela.nn.init import WEIGHT_STD
from grela.training.collectives import Collectives

# R rows, D width, n rows looked up

EPS = 1e-8
BLOCK = 1 << 16
FEATURE, TABLE = "item", "item_table"
VECTOR = 4  # FBGEMM's kernels read so many numbers at once


class LookedUp(NamedTuple):
    """Rows [n, D] that were read, and what brings their gradients [n, D] to where they lie; every rank calls it."""

    rows: Tensor
    update: Callable[[Tensor], None]


class ShardedTable:
    """Rows [R, D], float32, over the ranks of `talk`. What is not `low` or `weight` or `sums` is a collective.

    low:    the first row that this rank holds
    weight: its rows, [r, D]
    sums:   s of its rows, [r]
    """

    def __init__(self, rows: int, width: int, talk: Collectives) -> None:
        each = -(-rows // talk.size)
        if each * (talk.size - 1) >= rows:
            raise ConfigError(f"a table of {rows} rows cannot be sharded over {talk.size} ranks: start fewer")
        if width % VECTOR:
            raise ConfigError(
                f"model.width is {width}, but item_table 'sharded' needs a multiple of {VECTOR}: change one of them"
            )
        self.rows, self.width, self.talk = rows, width, talk
        self.module = _sharded(rows, width, talk)
        self.optimiser = self.module.fused_optimizer
        (shard,) = self.module.state_dict()[f"embeddings.{TABLE}.weight"].local_shards()
        self.low, self.weight = int(shard.metadata.shard_offsets[0]), shard.tensor
        (state,) = self.optimiser.state_dict()["state"].values()
        (sums,) = next(iter(state.values())).local_shards()
        self.sums: Tensor = sums.tensor

    @torch.no_grad()
    def draw(self, of_block: Callable[[int], torch.Generator]) -> None:
        """N(0, 0.02^2), a block of rows from a CPU generator each, so that the ranks' number changes nothing."""
        for block in range(self.low // BLOCK, -(-(self.low + len(self.weight)) // BLOCK)):
            count = min(BLOCK, self.rows - block * BLOCK)
            drawn = torch.empty(count, self.width).normal_(0, WEIGHT_STD, generator=of_block(block))
            self._take(self.weight, block * BLOCK, drawn)

    def look_up(self, ids: Tensor, rate: float) -> LookedUp:
        """The rows of ids, int64 [n], to be updated at a rate; n may be 0, and differ from rank to rank."""
        from torchrec import KeyedJaggedTensor

        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()  # hands on the rate, which the look-up takes with it; the update is part of backward
        ids = ids.to(self.talk.device)
        lengths = torch.tensor([len(ids)], device=ids.device)
        found = self.module(KeyedJaggedTensor(keys=[FEATURE], values=ids, lengths=lengths))[FEATURE].values()

        return LookedUp(found.detach(), found.backward)

    @torch.no_grad()
    def gathered(self, mine: Tensor) -> Tensor:
        """What all ranks have of `mine` [r, ...], one after the other, [R, ...] on the CPU of each."""
        whole = torch.empty(self.rows, *mine.shape[1:], dtype=mine.dtype)
        each = -(-self.rows // self.talk.size)
        for owner in range(self.talk.size):
            for low in range(owner * each, min((owner + 1) * each, self.rows), BLOCK):
                high = min(low + BLOCK, (owner + 1) * each, self.rows)
                if owner == self.talk.rank:
                    whole[low:high] = mine[low - self.low : high - self.low]
                whole[low:high] = self.talk.from_rank(owner, whole[low:high])
        return whole

    @torch.no_grad()
    def scattered(self, whole: Tensor | None, mine: Tensor) -> None:
        """Put this rank's part of rank 0's `whole` [R, ...] into `mine` [r, ...]."""
        for low in range(0, self.rows, BLOCK):
            high = min(low + BLOCK, self.rows)
            empty = torch.empty(high - low, *mine.shape[1:], dtype=mine.dtype)
            self._take(mine, low, self.talk.from_first(empty if whole is None else whole[low:high]))

    def _take(self, mine: Tensor, low: int, rows: Tensor) -> None:
        """Of rows low, low + 1, ... of the table those that this rank holds."""
        first, last = max(low, self.low), min(low + len(rows), self.low + len(self.weight))
        if first < last:
            mine[first - self.low : last - self.low] = rows[first - low : last - low].to(mine.device)


def _sharded(rows: int, width: int, talk: Collectives) -> Any:
    """TorchRec's module over the process group; ConfigError where TorchRec cannot be had."""
    try:
        from torchrec import EmbeddingCollection, EmbeddingConfig
        from torchrec.distributed.comm_ops import set_gradient_division
        from torchrec.distributed.embedding import EmbeddingCollectionSharder
        from torchrec.distributed.embedding_types import EmbeddingComputeKernel
        from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
        from torchrec.distributed.types import ShardingEnv
        from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
        from torchrec.optim.rowwise_adagrad import RowWiseAdagrad
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"item_table is 'sharded', which needs TorchRec, and that cannot be loaded ({error}): docs/distributed.md "
            "says how to install it, or leave item_table at 'replicated'"
        ) from error
    # Our losses are shares of a step's: gradients are to be added over ranks, not averaged.
    set_gradient_division(False)
    config = EmbeddingConfig(name=TABLE, num_embeddings=rows, embedding_dim=width, feature_names=[FEATURE])
    table = EmbeddingCollection(tables=[config], device=torch.device("meta"))
    apply_optimizer_in_backward(RowWiseAdagrad, table.parameters(), {"lr": 0.0, "eps": EPS})
    sharder = EmbeddingCollectionSharder()
    plan = construct_module_sharding_plan(
        table,
        {TABLE: row_wise(compute_kernel=EmbeddingComputeKernel.FUSED.value)},
        sharder=sharder,
        local_size=talk.size,
        world_size=talk.size,
        device_type=talk.device.type,
    )
    env = ShardingEnv.from_process_group(dist.group.WORLD)
    return sharder.shard(table, plan, env, device=talk.device)
