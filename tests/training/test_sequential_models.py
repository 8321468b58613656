"""Laws of every model that is compared: a new one is named in sequential_cases.py and inherits them all."""

import numpy as np
import pytest
import torch
from sequential_cases import CAUSAL, ITEMS, LONGEST, MASKED, MODELS, histories, made
from torch.nn.functional import cross_entropy
from training_cases import Ear, cyclic_sequences

from grela.data.histories import HistoryBatch
from grela.models.sequential import Padded
from grela.ops.losses.softmax import naive_softmax
from grela.serving.scorer import WindowScorer
from grela.training.config import TrainingConfig
from grela.training.loop import Training
from grela.training.objective import windows_loss
from grela.training.prefixes import PrefixPlan
from grela.training.rows_of_windows import windows_of
from grela.training.sequences import TrainingSequences
from grela.training.windows import WindowPlan

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def plan_of(model, sequences: TrainingSequences):
    make = WindowPlan if model.reads == "windows" else PrefixPlan
    return make(sequences, LONGEST, 96, 0)


def timed_sequences() -> TrainingSequences:
    s = cyclic_sequences(60)
    times = np.random.default_rng(0).integers(0, 1000, len(s.items)).cumsum()
    return TrainingSequences(s.items, s.start, s.end, s.gaps, times)


def cut(given: Padded, length: int) -> Padded:
    lengths = given.lengths.clamp(max=length)
    there = torch.arange(length) < lengths.unsqueeze(1)
    times = None if given.times is None else given.times[:, :length] * there
    return Padded(given.items[:, :length] * there, lengths, times)


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_a_causal_model_sees_nothing_that_comes_later(name):
    model, given = made(name), histories(12, 9, 5)
    whole = model.hidden(given)
    for length in (1, 4, 8):
        torch.testing.assert_close(model.hidden(cut(given, length))[0], whole[0, :length], **CLOSE)
        assert not torch.allclose(whole[0, length], whole[0, length - 1])


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_what_came_before_matters(name):
    model, given = made(name), histories(9)
    other = given._replace(items=torch.cat((given.items[:, :1] % ITEMS + 1, given.items[:, 1:]), 1))
    change = (model.last_hidden(other) - model.last_hidden(given)).norm()
    assert change > 1e-4 * model.last_hidden(given).norm()


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_padding_and_neighbours_change_nothing(name):
    model = made(name)
    together = histories(12, 1, 7, 3)
    found = model.last_hidden(together)
    for s, length in enumerate((12, 1, 7, 3)):
        times = together.times[s : s + 1, :length]
        alone = Padded(together.items[s : s + 1, :length], torch.tensor([length]), times)
        torch.testing.assert_close(model.last_hidden(alone)[0], found[s], **CLOSE)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns_and_dropout_is_drawn_from_the_generator(name):
    model, sequences = made(name), timed_sequences()
    row = next(plan_of(model, sequences).epoch(0)).rows[0]
    windows = windows_of(row, sequences, with_times=model.reads_times)
    taught = [model.learn(windows, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(taught[0].hidden, taught[1].hidden)
    assert taught[0].hidden.shape != taught[2].hidden.shape or not torch.equal(
        taught[0].hidden, taught[2].hidden
    )
    assert taught[0].hidden.shape == (len(taught[0].items), model.embedding.embedding_dim)
    value = (taught[0].hidden ** 2).sum() + model.scores(taught[0].hidden).logsumexp(1).sum()
    for (parameter, _), gradient in zip(
        model.named_parameters(), torch.autograd.grad(value, list(model.parameters())), strict=True
    ):
        assert gradient.abs().max() > 0, parameter


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_model_learns_what_follows_every_position(name):
    model, sequences = made(name), timed_sequences()
    row = next(plan_of(model, sequences).epoch(0)).rows[0]
    windows = windows_of(row, sequences, with_times=model.reads_times)
    taught = model.learn(windows, torch.Generator())
    assert torch.equal(taught.items, row.targets)
    # The sequences count upwards, so that an event tells what follows.
    assert torch.equal(windows.histories.items.flatten()[windows.places] % ITEMS + 1, taught.items)


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_decides_every_parameter(name):
    first, again, other = (
        MODELS[name](ITEMS, torch.Generator().manual_seed(s)).state_dict() for s in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert all(value.isfinite().all() for value in first.values())


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_scores_are_of_all_items_without_padding_and_the_scorer_reads_the_last_events(name):
    model, given = made(name), histories(12, 4, 9)
    expected = model.scores(model.last_hidden(given)).numpy()
    assert expected.shape == (3, ITEMS)
    rows, times = [], []
    for s, length in enumerate(given.lengths.tolist()):
        before = 5 if length == 12 else 0  # events that the window leaves out
        rows.append(np.concatenate((np.full(before, 3), given.items[s, :length].numpy())).astype(np.int32))
        times.append(np.concatenate((np.zeros(before), given.times[s, :length].numpy() + 1e6)))
    found = WindowScorer(model, window=12, places=30).scores(HistoryBatch.of(rows, times))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_of_the_scores(name):
    """So a bias of items, where there is one, is learnt too."""
    model, sequences = made(name), timed_sequences()
    row = next(plan_of(model, sequences).epoch(0)).rows[0]
    windows = windows_of(row, sequences, with_times=model.reads_times)
    options = {"loss": naive_softmax, "dtype": torch.float32}
    found = windows_loss(model, windows, torch.Generator().manual_seed(1), **options)
    taught = model.learn(windows, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, cross_entropy(model.scores(taught.hidden), taught.items - 1))


@pytest.mark.parametrize("name", MODELS)
def test_a_sampled_loss_has_sparse_gradients_by_the_tables_of_items(name):
    model, sequences = made(name), timed_sequences()
    config = TrainingConfig(epochs=1, loss="sampled_softmax", negatives=2, precision="fp32", patience=0)
    plan = plan_of(model, sequences)
    training = Training(model, plan, config, folder=None, validate=None, listener=Ear())
    training.one_step(next(plan.epoch(0)))
    for table in (model.embedding, model.item_bias):
        if table is not None:
            assert table.weight.grad.is_sparse
            assert table.weight.grad.coalesce().values().any()


@pytest.mark.parametrize("name", [name for name in MODELS if name not in MASKED])
def test_it_learns_a_cycle(name):
    """Each item is always followed by the next: chance finds 1 in 23."""
    sequences = timed_sequences()
    model = MODELS[name](ITEMS, torch.Generator().manual_seed(0))
    starts = [np.arange(k, k + 4) % ITEMS + 1 for k in range(ITEMS)]
    following = (np.arange(ITEMS) + 4) % ITEMS

    def found(model) -> dict[str, float]:
        batch = HistoryBatch.of(starts, [np.arange(4) * 500] * ITEMS)
        best = WindowScorer(model, window=LONGEST).scores(batch).argmax(1)
        return {"filtered/ndcg@10": float((best == following).mean())}

    config = TrainingConfig(
        epochs=30, window=LONGEST, batch_positions=96, learning_rate=1e-2, precision="fp32", patience=0
    )
    plan = plan_of(model, sequences)
    progress = Training(model, plan, config, folder=None, validate=found, listener=Ear()).run()
    assert progress.best > 0.9
