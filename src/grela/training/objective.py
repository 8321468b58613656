"""The loss of one row: at every position (causal) or prefix (bidirectional), of the item that follows."""

import torch
from torch import Tensor

from grela.models.compiled_row import PackedItems, row_gradients
from grela.models.recgrela import RecGRELA, State
from grela.models.sequential import SequentialModel, Windows
from grela.nn.block import PACKED, Block, BlockForm, PackedForms
from grela.ops.losses.targets import Loss, SeenItems, Targets
from grela.training.carried import detached, entering
from grela.training.prefixes import PrefixRow, PrefixStep
from grela.training.sequences import Row
from grela.training.streams import StreamRow
from grela.training.windows import PackedRow


def row_loss(
    model: RecGRELA,
    row: Row,
    rng: torch.Generator,
    *,
    loss: Loss,
    dtype: torch.dtype,
    form: BlockForm = Block.forward,
    packed: PackedForms = PACKED,
    state: State | None = None,
) -> tuple[Tensor, State | None]:
    """Mean `loss` of the row's targets, of when they came and of what follows, and the state of an unfinished history.

    `state` is what the row before left, where this one goes on. Products in `dtype`, sums in float32; `form`
    computes the blocks of a causal model, `packed` those of a bidirectional one.
    """
    device = model.embedding.weight.device
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        hidden, left = _predicting(model, row, rng, device, form, packed, state)
    bias = None if model.repeats is None else model.repeats.bias
    item_bias = None if model.item_bias is None else model.item_bias.weight

    def of_items(hidden: Tensor, items: Tensor, seen: SeenItems) -> Tensor:
        return loss(hidden, model.embedding.weight, Targets(items.to(device), seen, bias, item_bias), rng)

    hidden, total = hidden.to(dtype), torch.zeros((), device=device)
    if model.after_next is not None:
        after = row.after
        mapped = model.after_next.mapped(hidden[after.places.to(device)])
        if len(after.places):
            weight = model.config.after_next * len(after.places) / row.events
            total = total + weight * of_items(mapped, after.items, after.seen)
        else:
            # A sum over nothing is 0, and gives the map a gradient of 0 where autograd would raise at an unused one.
            total = total + mapped.sum()
    if model.next_gap is not None:
        classes = model.next_gap.classes(None if row.next_gaps is None else row.next_gaps.to(device))
        total = total + model.next_gap.loss(hidden, classes)
        hidden = model.next_gap.mapped(hidden, classes)
    return total + of_items(hidden, row.targets, row.seen), left


def windows_loss(
    model: SequentialModel, windows: Windows, rng: torch.Generator, *, loss: Loss, dtype: torch.dtype
) -> Tensor:
    """Mean `loss` of what the windows teach a model that is not RecGRELA."""
    device = model.embedding.weight.device
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        examples = model.learn(windows.to(device), rng)
    item_bias = None if model.item_bias is None else model.item_bias.weight
    targets = Targets(examples.items, examples.seen, item_bias=item_bias)
    return loss(examples.hidden.to(dtype), model.embedding.weight, targets, rng)


def _predicting(
    model: RecGRELA,
    row: Row,
    rng: torch.Generator,
    device: torch.device,
    form: BlockForm,
    packed: PackedForms,
    state: State | None,
) -> tuple[Tensor, State | None]:
    """The hidden states [P, D] that predict the row's targets, and the state that the row leaves, without its past."""
    gaps = None if row.gaps is None else row.gaps.to(device)
    if isinstance(row, PackedRow | StreamRow):
        before = entering(row, state) if isinstance(row, StreamRow) else None
        hidden, after = model(
            row.items.to(device), row.segments.to(device), row.positions.to(device), before, rng, form, gaps
        )
        left = detached(after) if isinstance(row, StreamRow) and row.unfinished else None
        return hidden.squeeze(0), left
    if isinstance(row, PrefixRow):
        return model.packed_last_hidden(row.items.to(device), row.packing.to(device), rng, packed, gaps), None
    if isinstance(row, PrefixStep):
        return model.last_hidden(row.items.to(device), row.lengths.to(device), rng, gaps), None
    raise TypeError(f"no loss is defined for a {type(row).__name__}")


def compiled_row(
    model: RecGRELA,
    row: PackedRow | StreamRow,
    rng: torch.Generator,
    *,
    without_seen: bool,
    dtype: torch.dtype,
    share: float,
    state: State | None = None,
) -> tuple[float, Tensor, State | None]:
    """`share` times the softmax loss of a causal row, its gradients as a `FlatGradients` vector, and the state left."""
    before = entering(row, state) if isinstance(row, StreamRow) else None
    packed = PackedItems(
        row.items[0],
        row.segments[0],
        row.positions[0],
        row.targets,
        row.seen if without_seen or model.repeats is not None else None,
        None if row.gaps is None else row.gaps[0],
        row.next_gaps,
        row.after,
    )
    loss, flat, after = row_gradients(
        model, packed, before or model.empty_state(1), rng, dtype=dtype, share=share
    )
    return loss, flat, after if isinstance(row, StreamRow) and row.unfinished else None
