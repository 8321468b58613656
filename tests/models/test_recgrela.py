"""The model equals an independent float64 computation, streams exactly, and leaks nothing."""

import pytest
import torch
from model_cases import (
    HEADS,
    ITEMS,
    LAYERS,
    arrays,
    causal_hidden,
    draw_gaps,
    draw_items,
    hidden_parameters,
    row,
    seen_of_each,
    trained_size_model,
)
from torch.nn.utils.rnn import pad_sequence

from grela.errors import ConfigError
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import UNKNOWN
from grela.ops.packing import packing
from reference import naive_recgrela

ABLATIONS = [
    {},
    {"rotation": False},
    {"rotation_per_head": True},
    {"local_branch": False},
    {"gate": False},
    {"learned_positions": 5},
    {"gaps": False},
]
OF_SCORES = [
    {"repeats": False},
    {"next_gaps": 0},
    {"item_bias": False},
    {"repeats": False, "next_gaps": 0, "item_bias": False},
    {"next_gaps": 7},
]
FORMS = ["causal", "bidirectional"]
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def forward(model: RecGRELA, items: torch.Tensor) -> torch.Tensor:
    """Hidden states [T, D] of one history [T] with gaps of its own, in the model's own form."""
    gaps = draw_gaps(len(items))
    if model.config.form == "causal":
        return causal_hidden(model, items, gaps)
    return model.whole(items.unsqueeze(0), torch.tensor([len(items)]), gaps=gaps.unsqueeze(0))[0]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("taps", [1, 4])
@torch.no_grad()
def test_equals_the_loops_with_and_without_each_part(form, ablation, taps):
    model = trained_size_model(form=form, taps=taps, **ablation)
    for length in (1, 2, 9):
        items, gaps = draw_items(length, seed=length), draw_gaps(length)
        settings = {"heads": HEADS, "layers": LAYERS, "form": form} | ablation
        settings["gaps"] = gaps.tolist() if model.config.gaps else None
        expected = naive_recgrela.hidden(arrays(model), items.tolist(), **settings)
        torch.testing.assert_close(forward(model, items), torch.from_numpy(expected), **CLOSE)
        last = model.last_hidden(items.unsqueeze(0), torch.tensor([length]), gaps=gaps.unsqueeze(0))
        torch.testing.assert_close(last[0], torch.from_numpy(expected[-1]), **CLOSE)


@pytest.mark.parametrize("settings", [{}, *OF_SCORES], ids=str)
@torch.no_grad()
def test_scores_equal_the_loops_with_and_without_each_part(settings):
    """Histories whose items come again and again, next to one another and far apart, and one with none."""
    model = trained_size_model(**settings)
    histories = [draw_items(length, seed=length, high=9) for length in (1, 0, 2, 70, 300)]
    hidden = torch.randn(5, HEADS * 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = model.scores(hidden, seen_of_each(histories))
    for row_of_scores, state, history in zip(found, hidden, histories, strict=True):
        met = history.tolist() if model.config.repeats else None
        expected = naive_recgrela.scores(arrays(model), state.numpy(), met)
        torch.testing.assert_close(row_of_scores, torch.from_numpy(expected), **CLOSE)


@torch.no_grad()
def test_mixed_scores_are_logarithms_of_probabilities():
    model, hidden = trained_size_model(), torch.ones(1, HEADS * 4, dtype=torch.float64)
    found = model.scores(hidden, seen_of_each([draw_items(20)]))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(1, dtype=torch.float64), **CLOSE)


@pytest.mark.parametrize("settings", OF_SCORES[:3], ids=str)
@torch.no_grad()
def test_each_part_of_the_scores_matters(settings):
    full, without = trained_size_model(), trained_size_model(**settings)
    same = {k: v for k, v in full.state_dict().items() if k in without.state_dict()}
    without.load_state_dict(same)
    hidden = 0.2 * full.last_hidden(draw_items(1, 9), torch.tensor([9]))
    seen = seen_of_each([draw_items(9)])
    found, other = (model.scores(hidden, seen).softmax(1) for model in (full, without))
    assert (found - other).norm() > 0.02 * found.norm()


@torch.no_grad()
def test_without_gaps_they_are_unknown():
    model, items = trained_size_model(), draw_items(9)
    unknown = torch.full((9,), UNKNOWN)
    assert torch.equal(causal_hidden(model, items), causal_hidden(model, items, unknown))
    assert not torch.isclose(causal_hidden(model, items), causal_hidden(model, items, draw_gaps(9))).all()


def test_a_model_with_a_bias_must_know_what_was_seen():
    with pytest.raises(ConfigError, match="say what was seen"):
        trained_size_model().scores(torch.ones(1, HEADS * 4, dtype=torch.float64))


@pytest.mark.parametrize("ablation", ABLATIONS[1:], ids=str)
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_each_part_matters(form, ablation):
    full, without = trained_size_model(form=form), trained_size_model(form=form, **ablation)
    same = {k: v for k, v in full.state_dict().items() if k in without.state_dict()}
    without.load_state_dict(same, strict=False)
    items = draw_items(9)
    change = (forward(full, items) - forward(without, items)).norm() / forward(full, items).norm()
    assert change > 0.05


@torch.no_grad()
def test_form_matters():
    causal = trained_size_model()
    both_ways = trained_size_model(form="bidirectional")
    items = draw_items(9)
    difference = forward(causal, items) - forward(both_ways, items)
    assert difference[:-1].abs().max() > 0.05


@pytest.mark.parametrize("ablation", ABLATIONS, ids=str)
@torch.no_grad()
def test_step_by_step_equals_the_whole_pass(ablation):
    model = trained_size_model(**ablation)
    items, gaps = draw_items(2, 40), draw_gaps(2, 40)
    positions = torch.arange(40).expand(2, -1)
    whole, whole_state = model(items, torch.zeros_like(positions), positions, gaps=gaps)
    state = model.empty_state(2)
    for t in range(40):
        hidden, state = model.step(items[:, t], state, gaps[:, t])
        torch.testing.assert_close(hidden, whole[:, t], **CLOSE)
    assert torch.equal(state.events, whole_state.events)
    for found, expected in zip(state.layers, whole_state.layers, strict=True):
        torch.testing.assert_close(found.attention.S, expected.attention.S, **CLOSE)
        torch.testing.assert_close(found.attention.z, expected.attention.z, **CLOSE)
        torch.testing.assert_close(found.tail, expected.tail, **CLOSE)


@pytest.mark.parametrize("cut", [1, 2, 31, 32, 33, 99])
@torch.no_grad()
def test_a_state_continues_as_if_never_cut(cut):
    model, items, gaps = trained_size_model(), draw_items(1, 100), draw_gaps(1, 100)
    positions, one = torch.arange(100).unsqueeze(0), torch.zeros(1, 100, dtype=torch.int64)
    whole, _ = model(items, one, positions, gaps=gaps)
    _, state = model(items[:, :cut], one[:, :cut], positions[:, :cut], gaps=gaps[:, :cut])
    rest, _ = model(items[:, cut:], one[:, cut:], positions[:, cut:], state, gaps=gaps[:, cut:])
    torch.testing.assert_close(rest, whole[:, cut:], **CLOSE)


def test_packed_histories_equal_each_alone_in_values_and_gradients():
    model = trained_size_model()
    histories = [draw_items(n, seed=n) for n in (2, 31, 1, 40, 7)]
    gaps = [draw_gaps(len(h), seed=len(h)) for h in histories]
    packed, state = model(*row(histories), gaps=torch.cat(gaps).unsqueeze(0))
    weights = torch.randn(packed.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameters = hidden_parameters(model)
    together = torch.autograd.grad((packed * weights).sum(), parameters)
    alone = [causal_hidden(model, h, gap) for h, gap in zip(histories, gaps, strict=True)]
    torch.testing.assert_close(packed[0], torch.cat(alone), **CLOSE)
    apart = torch.autograd.grad((torch.cat(alone) * weights[0]).sum(), parameters)
    for found, expected in zip(together, apart, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-8)
    assert state.events.tolist() == [7]


def test_nothing_of_one_history_reaches_another_in_its_row():
    """Sum, convolution and positions: values bit-identical, gradients by the other history's items exactly zero."""
    model = trained_size_model()
    first, last = (draw_items(n, seed=n, low=1, high=20) for n in (5, 30))
    middle, other = (draw_items(17, seed=seed, low=21, high=ITEMS) for seed in (7, 8))
    hidden, _ = model(*row([first, middle, last]))
    changed, _ = model(*row([first, other, last]))
    outside = torch.cat((torch.arange(5), torch.arange(22, 52)))
    assert torch.equal(hidden[:, outside], changed[:, outside])
    assert not torch.isclose(hidden[:, 5:22], changed[:, 5:22]).all()
    hidden[:, outside].square().sum().backward()
    assert not model.embedding.weight.grad[21:].any()
    assert model.embedding.weight.grad[first].any()


@torch.no_grad()
def test_a_later_event_never_changes_an_earlier_hidden_state():
    model = trained_size_model()
    items = draw_items(40)
    before = causal_hidden(model, items)
    items[25:] = items[25:] % ITEMS + 1
    after = causal_hidden(model, items)
    assert torch.equal(before[:25], after[:25])
    assert not torch.isclose(before[25:], after[25:]).all(-1).any()


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_padding_never_changes_a_result(form):
    """Neither how much of it there is, nor what its embedding holds, nor who shares the batch."""
    model = trained_size_model(form=form)
    histories = [draw_items(n, seed=n) for n in (1, 3, 10)]
    lengths = torch.tensor([1, 3, 10])
    alone = torch.cat([model.last_hidden(h.unsqueeze(0), torch.tensor([len(h)])) for h in histories])
    for padded_to in (10, 11, 50):
        items = torch.zeros(3, padded_to, dtype=torch.int64)
        for b, history in enumerate(histories):
            items[b, : len(history)] = history
        torch.testing.assert_close(model.last_hidden(items, lengths), alone, **CLOSE)
    model.embedding.weight[0] = 1e3
    torch.testing.assert_close(model.last_hidden(items, lengths), alone, **CLOSE)


@pytest.mark.parametrize("settings", [*ABLATIONS, {"layers": 1}, {"taps": 1}], ids=str)
@pytest.mark.parametrize("lengths", [[1], [1, 1, 2], [3, 1, 40, 2, 33, 64]], ids=str)
def test_packed_prefixes_equal_padded_ones_in_values_and_gradients(settings, lengths):
    model = trained_size_model(form="bidirectional", **settings)
    histories = [draw_items(n, seed=n + b) for b, n in enumerate(lengths)]
    gaps = [draw_gaps(n, seed=n + b) for b, n in enumerate(lengths)]
    padded = model.last_hidden(
        pad_sequence(histories, batch_first=True),
        torch.tensor(lengths),
        gaps=pad_sequence(gaps, batch_first=True),
    )
    packed = model.packed_last_hidden(
        torch.cat(histories), packing(torch.tensor(lengths)), gaps=torch.cat(gaps)
    )
    torch.testing.assert_close(packed, padded, **CLOSE)
    weights = torch.randn(packed.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for found, expected in zip(
        *(torch.autograd.grad((x * weights).sum(), hidden_parameters(model)) for x in (packed, padded)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-8)


def test_packed_prefixes_drop_each_its_own():
    """Drop path is one draw a history; dropout repeats with its seed."""
    model = trained_size_model(form="bidirectional", dropout=0.0, drop_path=0.5, layers=1)
    items = torch.cat([draw_items(6)] * 40)
    packed = packing(torch.tensor([6] * 40))
    plain = model.packed_last_hidden(items, packed)
    a, b, c = (
        model.packed_last_hidden(items, packed, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.isclose(a, c).all()
    kinds = {tuple(row.tolist()) for row in (a * 1e6).round()}
    assert len(kinds) == 2
    assert not torch.isclose(a, plain).all(-1).any()


@pytest.mark.parametrize("settings", [{}, {"learned_positions": 5}], ids=str)
@torch.no_grad()
def test_any_length_works_whole_and_by_steps(settings):
    """Longer than any window or table of positions: two passes that share no code of time agree."""
    model, items = trained_size_model(**settings), draw_items(700)
    whole = causal_hidden(model, items)
    state = model.empty_state(1)
    for item in items:
        hidden, state = model.step(item.unsqueeze(0), state)
    assert hidden.isfinite().all()
    torch.testing.assert_close(hidden[0], whole[-1], **CLOSE)


@torch.no_grad()
def test_in_bfloat16_the_state_stays_float32_and_the_output_near():
    model, items = trained_size_model(dtype=torch.float32), draw_items(3000)
    exact = causal_hidden(model, items)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden, state = model(*row([items]))
    for layer in state.layers:
        assert {layer.attention.S.dtype, layer.attention.z.dtype, layer.tail.dtype} == {torch.float32}
    # bfloat16 has 8 bits: 4e-3 a rounding, over two layers of some six products.
    assert (hidden[0] - exact).norm() / exact.norm() < 0.03


def test_dropout_happens_only_with_a_generator_and_repeats_with_its_seed():
    model, packed = trained_size_model(dropout=0.3, drop_path=0.3), row([draw_items(30), draw_items(20)])
    plain, again = model(*packed)[0], model(*packed)[0]
    assert torch.equal(plain, again)
    a, b, c = (model(*packed, rng=torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.isclose(a, c).all()
    assert not torch.isclose(a, plain).all()


def test_a_model_refuses_the_other_forms_calls():
    causal, both_ways = trained_size_model(), trained_size_model(form="bidirectional")
    items = draw_items(1, 4)
    with pytest.raises(ConfigError, match="this model is causal"):
        causal.whole(items, torch.tensor([4]))
    with pytest.raises(ConfigError, match="this model is causal"):
        causal.packed_last_hidden(items[0], packing(torch.tensor([4])))
    with pytest.raises(ConfigError, match="this model is bidirectional"):
        both_ways(items, torch.zeros_like(items), torch.arange(4).unsqueeze(0))
    with pytest.raises(ConfigError, match="this model is bidirectional"):
        both_ways.step(items[:, 0], causal.empty_state(1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_items", -1),
        ("form", "sideways"),
        ("width", 0),
        ("width", 13),
        ("heads", 0),
        ("heads", 7),
        ("layers", 0),
        ("taps", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("drop_path", 1.5),
        ("learned_positions", -1),
        ("next_gaps", -1),
        ("next_gaps", 1),
    ],
)
def test_config_refuses_nonsense_naming_field_and_value(field, value):
    with pytest.raises(ConfigError) as caught:
        RecGRELAConfig(**{"num_items": 10, field: value})
    assert field in str(caught.value)
    assert str(value) in str(caught.value)


def test_a_model_without_a_catalogue_is_refused():
    with pytest.raises(ConfigError, match="num_items"):
        RecGRELA(RecGRELAConfig(num_items=0), rng=torch.Generator())


def test_the_last_hidden_state_is_that_of_the_whole_history() -> None:
    config = RecGRELAConfig(num_items=30, form="bidirectional", width=12, heads=3, layers=2)
    model = RecGRELA(config, rng=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    lengths = torch.tensor([1, 4, 7])
    items = torch.randint(1, 31, (3, 7), generator=torch.Generator().manual_seed(4))
    items[torch.arange(7) >= lengths[:, None]] = 0
    whole = model.whole(items, lengths)[torch.arange(3), lengths - 1]
    assert (model.last_hidden(items, lengths) - whole).abs().max() <= 1e-5 * whole.abs().max()
