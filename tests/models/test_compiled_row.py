"""A row in one call is the model, its softmax and autograd: loss, state and every gradient, judged in float64."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from grela.models.compiled_row import FlatGradients, PackedItems, computes_rows, row_gradients
from grela.models.recgrela import RecGRELA, RecGRELAConfig, State
from grela.nn.attention import LayerState
from grela.ops.compiled.functions import dropout_mask
from grela.ops.dropout import keep_mask
from grela.ops.gaps import BUCKETS
from grela.ops.linear_attention import AttentionState
from grela.ops.losses.softmax import naive_softmax
from grela.ops.losses.targets import AfterNext, SeenItems, Targets
from grela.ops.losses.without_seen import naive_softmax_without_seen

pytestmark = pytest.mark.usefixtures("kernels")

ITEMS = 37
LENGTHS = (3, 1, 70, 23)
POSITIONS = sum(LENGTHS)
# As in test_compiled_block: sums one by one instead of pairwise, and one rounding to 8 bits.
SLACK = {torch.float32: 2e-6, torch.bfloat16: 2**-8}


class Given(NamedTuple):
    model: RecGRELA
    row: PackedItems
    state: State


PLAIN = {"gaps": False, "repeats": False, "item_bias": False, "next_gaps": 0, "after_next": 0.0}


def given_of(
    *,
    width: int = 32,
    heads: int = 2,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    seen: bool = True,
    **parts: float,
) -> Given:
    rng = torch.Generator().manual_seed(5)
    config = RecGRELAConfig(
        num_items=ITEMS, width=width, heads=heads, layers=3, dropout=dropout, drop_path=drop_path, **parts
    )
    model = RecGRELA(config, rng=rng)
    if model.next_gap is not None:
        model.next_gap.divide(np.ones(BUCKETS, np.int64))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=rng)
    history = torch.randint(1, ITEMS + 1, (POSITIONS + 1,), generator=rng, dtype=torch.int32)
    gaps = torch.randint(BUCKETS, (POSITIONS + 1,), generator=torch.Generator().manual_seed(6))
    memory = 5 if model.repeats is None else 30
    place = torch.arange(POSITIONS)
    following = place[place % 7 < 5]
    following = following[following + 2 <= POSITIONS]
    row = PackedItems(
        history[:-1].long(),
        torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS)),
        torch.cat([torch.arange(length) for length in LENGTHS]) + 11,
        history[1:].long(),
        SeenItems(history, (place - memory).clamp(min=0), place + 1) if seen else None,
        gaps[:-1],
        gaps[1:],
        AfterNext(
            following,
            history[following + 2].long(),
            SeenItems(history, (following - memory).clamp(min=0), following + 2),
        ),
    )
    d = width // heads
    layers = tuple(
        LayerState(
            AttentionState(
                torch.randn(1, heads, d, d, generator=rng), torch.rand(1, heads, d, generator=rng)
            ),
            torch.randn(1, 3, width, generator=rng),
        )
        for _ in range(3)
    )
    return Given(model, row, State(layers, torch.tensor([11])))


def by_autograd(
    given: Given, dtype: torch.dtype, *, share: float, bf16: bool = False, rng=None
) -> dict[str, Tensor]:
    model, row = given.model.to(dtype), given.row
    layers = tuple(
        LayerState(AttentionState(*(x.to(dtype) for x in layer.attention)), layer.tail.to(dtype))
        for layer in given.state.layers
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        hidden, after = model(
            row.items[None],
            row.segments[None],
            row.positions[None],
            State(layers, given.state.events),
            rng,
            gaps=row.gaps[None],
        )
    plain = row.seen is None or model.repeats is not None
    loss = naive_softmax if plain else naive_softmax_without_seen
    hidden = hidden[0].to(torch.bfloat16) if bf16 else hidden[0]
    of_classes, unmapped = torch.zeros(()), hidden
    if model.next_gap is not None:
        classes = model.next_gap.classes(row.next_gaps)
        of_classes, hidden = model.next_gap.loss(hidden, classes), model.next_gap.mapped(hidden, classes)
    # The naive losses take one precision for both factors.
    weight = model.embedding.weight.to(hidden.dtype)
    bias = None if model.repeats is None else model.repeats.bias
    item_bias = None if model.item_bias is None else model.item_bias.weight
    targets = Targets(row.targets, row.seen, bias, item_bias)
    value = share * (loss(hidden, weight, targets, torch.Generator()) + of_classes)
    if model.after_next is not None:
        later = row.after
        targets = Targets(later.items, later.seen, bias, item_bias)
        mapped = model.after_next.mapped(unmapped[later.places])
        of_after = loss(mapped, weight, targets, torch.Generator())
        value = value + share * model.config.after_next * len(later.items) / POSITIONS * of_after
    grads = torch.autograd.grad(value, list(model.parameters()))
    return found(model, value.detach(), grads, after)


def by_kernels(given: Given, dtype: torch.dtype, *, share: float, rng=None) -> dict[str, Tensor]:
    model = given.model.float()
    value, flat, after = row_gradients(
        model, given.row, given.state, rng or torch.Generator().manual_seed(0), dtype=dtype, share=share
    )
    return found(model, torch.tensor(value), FlatGradients(list(model.parameters())).parts(flat), after)


def found(model: RecGRELA, value: Tensor, grads, after: State) -> dict[str, Tensor]:
    result = {"loss": value, "events": after.events}
    for number, layer in enumerate(after.layers):
        result |= {
            f"S{number}": layer.attention.S,
            f"z{number}": layer.attention.z,
            f"tail{number}": layer.tail,
        }
    result |= dict(zip((name for name, _ in model.named_parameters()), grads, strict=True))
    return {name: x.detach().double() for name, x in result.items()}


@pytest.mark.parametrize(("width", "heads"), [(32, 2), (64, 4), (64, 1)])
@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_to_the_model_and_autograd(width, heads, seen, dtype):
    """The paper's model, by the full softmax and by that of unseen items."""
    must_be_equal(given_of(width=width, heads=heads, seen=seen, **PLAIN), dtype)


@pytest.mark.parametrize(
    "parts",
    [
        {"gaps": True},
        {"repeats": True},
        {"item_bias": True},
        {"learned_positions": 40},
        {"next_gaps": 4},
        {"after_next": 0.4},
        {"after_next": 0.4, "repeats": True, "next_gaps": 3},
        {"decay": True},
        {"gaps": True, "learned_positions": 40},
        {"gaps": True, "repeats": True, "learned_positions": 40},
        {
            "gaps": True,
            "repeats": True,
            "learned_positions": 40,
            "next_gaps": 5,
            "item_bias": True,
            "decay": True,
            "after_next": 2.0,
        },
    ],
    ids=lambda parts: "+".join(parts),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_of_our_parts_is_equal_too(parts, dtype):
    must_be_equal(given_of(**PLAIN | parts), dtype)


def must_be_equal(given: Given, dtype: torch.dtype) -> None:
    exact = by_autograd(given, torch.float64, share=0.25)
    slow = by_autograd(given, torch.float32, share=0.25, bf16=dtype == torch.bfloat16)
    fast = by_kernels(given, dtype, share=0.25)
    assert fast.keys() == exact.keys()
    errors = {
        name: [float((x[name] - true).norm() / true.norm()) for x in (fast, slow)]
        for name, true in exact.items()
    }
    # Which of two roundings falls nearer is chance for any one parameter, through three layers, but not for all.
    for name, (of_fast, of_slow) in errors.items():
        assert of_fast <= 2 * of_slow + SLACK[dtype], name
    of_fast, of_slow = (sum(pair) / len(pair) for pair in zip(*errors.values(), strict=True))
    assert of_fast <= 1.1 * of_slow + SLACK[dtype] / 10


def test_dropout_is_by_the_kernels_masks_and_drop_path_by_the_models(monkeypatch):
    """With the same masks in place of its own draws the model computes the same."""
    rate = 0.3
    given = given_of(dropout=rate, drop_path=0.4)
    rng = torch.Generator().manual_seed(3)
    fast = by_kernels(given, torch.float32, share=1.0, rng=rng)
    rng.manual_seed(3)
    seeds = torch.randint(2**63 - 1, (7,), generator=rng).tolist()
    masks = [dropout_mask(rate, seeds[-1], POSITIONS, 32)]
    for layer in range(3):
        masks += [dropout_mask(rate, seeds[2 * layer + i], POSITIONS, (128, 32)[i]) for i in range(2)]
    paths = iter([keep_mask((len(LENGTHS),), 0.4, rng, torch.float32)[given.row.segments] for _ in range(3)])
    masks = iter(masks)

    def dropped(x: Tensor, rate: float, rng) -> Tensor:
        return x * next(masks).view(x.shape)

    monkeypatch.setattr("grela.models.recgrela.dropout", dropped)
    monkeypatch.setattr("grela.nn.feed_forward.dropout", dropped)
    monkeypatch.setattr(
        "grela.nn.block.drop_path", lambda y, rate, segments, rng: y * next(paths)[None, :, None]
    )
    slow = by_autograd(given, torch.float32, share=1.0, rng=rng)
    for name, value in slow.items():
        assert torch.allclose(fast[name], value, rtol=1e-4, atol=1e-4), name


def test_nothing_of_one_history_reaches_the_next():
    given = given_of(repeats=False, seen=False, after_next=0.0)
    whole = by_kernels(given, torch.float32, share=1.0)
    at = slice(POSITIONS - LENGTHS[-1], None)
    alone = given._replace(
        row=PackedItems(
            *(x if x is None else x[at] for x in given.row._replace(seen=None, after=None))
        )._replace(segments=torch.zeros(LENGTHS[-1], dtype=torch.int64)),
        state=given.model.empty_state(1),
    )
    last = by_kernels(alone, torch.float32, share=1.0)
    for name in ("S0", "z1", "S2", "tail2"):
        assert torch.equal(whole[name], last[name]), name


@pytest.mark.parametrize("name", ["items", "targets"])
@pytest.mark.parametrize("bad", [0, ITEMS + 1, -3])
def test_ids_outside_the_catalogue_are_refused(name, bad):
    given = given_of()
    ids = getattr(given.row, name).clone()
    ids[40] = bad
    with pytest.raises(IndexError, match=f"{name} .* expected 1 to {ITEMS}"):
        by_kernels(given._replace(row=given.row._replace(**{name: ids})), torch.float32, share=1.0)


def test_a_row_that_does_not_say_when_its_targets_came_is_refused():
    given = given_of()
    with pytest.raises(ValueError, match="does not say when its targets came"):
        by_kernels(given._replace(row=given.row._replace(next_gaps=None)), torch.float32, share=1.0)


def test_a_row_that_does_not_say_what_follows_is_refused():
    given = given_of()
    with pytest.raises(ValueError, match="does not say what follows its targets"):
        by_kernels(given._replace(row=given.row._replace(after=None)), torch.float32, share=1.0)


def test_models_that_rows_cannot_be_computed_of_are_told_apart():
    rng = torch.Generator()
    assert computes_rows(RecGRELA(RecGRELAConfig(num_items=5), rng=rng))
    assert not computes_rows(RecGRELA(RecGRELAConfig(num_items=5, form="bidirectional"), rng=rng))
    assert computes_rows(RecGRELA(RecGRELAConfig(num_items=5, learned_positions=9), rng=rng))
    assert not computes_rows(RecGRELA(RecGRELAConfig(num_items=400_000, width=16), rng=rng))
