"""A decaying memory streams: event by event, across a cut and packed in a row, it is the one pass."""

import pytest
import torch
from model_cases import causal_hidden, draw_items, row, trained_size_model

from grela.errors import ConfigError
from grela.models.recgrela import RecGRELA, RecGRELAConfig

MEMORIES = [{"decay": True}, {"decay": True, "rotation": False}]
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def model_of(memory: dict, **settings) -> RecGRELA:
    plain = {"gaps": False, "repeats": False, "item_bias": False, "next_gaps": 0, "after_next": 0.0}
    return trained_size_model(**plain, **memory, **settings)


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@torch.no_grad()
def test_step_by_step_equals_the_whole_pass(memory):
    model, items = model_of(memory), draw_items(2, 70)
    positions = torch.arange(70).expand(2, -1)
    whole, whole_state = model(items, torch.zeros_like(positions), positions)
    state = model.empty_state(2)
    for t in range(70):
        hidden, state = model.step(items[:, t], state)
        torch.testing.assert_close(hidden, whole[:, t], **CLOSE)
    for found, expected in zip(state.layers, whole_state.layers, strict=True):
        torch.testing.assert_close(found.attention.S, expected.attention.S, **CLOSE)
        torch.testing.assert_close(found.attention.z, expected.attention.z, **CLOSE)


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@pytest.mark.parametrize("cut", [1, 32, 45])
@torch.no_grad()
def test_state_carried_across_a_cut_equals_one_pass(memory, cut):
    model, items = model_of(memory), draw_items(1, 70)
    positions = torch.arange(70).unsqueeze(0)
    one = torch.zeros_like(positions)
    whole, _ = model(items, one, positions)
    head, state = model(items[:, :cut], one[:, :cut], positions[:, :cut])
    tail, _ = model(items[:, cut:], one[:, cut:], positions[:, cut:], state)
    torch.testing.assert_close(torch.cat((head, tail), 1), whole, **CLOSE)


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@torch.no_grad()
def test_packed_histories_equal_each_alone(memory):
    model = model_of(memory)
    histories = [draw_items(n, seed=n) for n in (3, 29, 1, 40, 27)]
    together, _ = model(*row(histories))
    alone = torch.cat([causal_hidden(model, items) for items in histories])
    torch.testing.assert_close(together[0], alone, **CLOSE)


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@torch.no_grad()
def test_each_kind_differs_from_the_paper(memory):
    plain, other = model_of({}), model_of(memory)
    same = {k: v for k, v in plain.state_dict().items() if k in other.state_dict()}
    other.load_state_dict(same | {k: v for k, v in other.state_dict().items() if k not in same})
    items = draw_items(9)
    expected = causal_hidden(plain, items)
    assert (causal_hidden(other, items) - expected).norm() / expected.norm() > 0.02


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
def test_every_parameter_gets_a_gradient(memory):
    model = model_of(memory)
    causal_hidden(model, draw_items(40)).square().sum().backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unused


def test_half_lives_start_from_8_to_1024_events():
    model = RecGRELA(RecGRELAConfig(num_items=9, decay=True), rng=torch.Generator().manual_seed(0))
    half_lives = torch.log(torch.tensor(0.5)) / model.each_block()[0].attention.log_decay()
    assert half_lives.shape == (4, 16)
    assert half_lives.min().item() == pytest.approx(8, rel=1e-4)
    assert half_lives.max().item() == pytest.approx(1024, rel=1e-4)
    assert torch.equal(half_lives[:, ::2], half_lives[:, 1::2])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"decay": True, "form": "bidirectional"}, "bidirectional"),
        ({"decay": True, "width": 6, "heads": 2}, "pairs"),
    ],
)
def test_nonsense_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        RecGRELAConfig(**settings)
