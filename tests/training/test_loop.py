"""Training learns what can be learnt, keeps its best epoch, and is decided by its seed."""

import numpy as np
import pytest
import torch
from training_cases import ITEMS, Ear, assert_same_weights, make_training

from grela.data.histories import HistoryBatch
from grela.errors import ConfigError, TrainingError
from grela.serving.scorer import ModelScorer
from grela.training import windows
from grela.training.loop import mixed_seed, selected_by


def ndcg_of_the_next_in_the_cycle(model) -> dict[str, float]:
    """NDCG@10 over all starts of the cycle, histories of 1 to 5 events."""
    histories, targets = [], []
    for start in range(ITEMS):
        length = 1 + start % 5
        histories.append((start + np.arange(length)) % ITEMS + 1)
        targets.append((start + length) % ITEMS)
    scores = ModelScorer(model, window=8).scores(HistoryBatch.of(histories))
    ranks = (scores >= scores[np.arange(ITEMS), targets][:, None]).sum(1)
    return {selected_by(model): float(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0).mean())}


@pytest.mark.parametrize("form", ["causal", "bidirectional"])
def test_it_learns_a_cycle(form, device):
    ear = Ear()
    training = make_training(
        None, form=form, epochs=12, listener=ear, validate=ndcg_of_the_next_in_the_cycle, device=device
    )
    before = ndcg_of_the_next_in_the_cycle(training.model)[selected_by(training.model)]
    progress = training.run()
    assert before < 0.6
    assert progress.best > 0.98
    # A random guess costs log(23) = 3.1 nats, one of when it comes log(4), and one of what follows .3 of the first.
    assert ear.epochs[0].loss > 1.5 * ear.epochs[-1].loss
    rows = next(training.plan.epoch(0)).rows
    foretold = sum(len(row.after.places) for row in rows) / sum(row.events for row in rows)
    guessed = (1 + 0.3 * foretold) * np.log(ITEMS) + np.log(4)
    assert ear.steps[0].loss == pytest.approx(guessed, rel=0.1)
    assert [e.epoch for e in ear.epochs] == list(range(1, 13))
    assert ear.steps[-1].step == ear.steps[-1].steps


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_seed_decides_everything(precision):
    first, again, other = (make_training(None, precision=precision, seed=s, epochs=2) for s in (3, 3, 4))
    for training in (first, again, other):
        training.run()
    assert_same_weights(first.model.state_dict(), again.model.state_dict())
    assert not torch.equal(first.model.embedding.weight, other.model.embedding.weight)


def test_early_stopping_keeps_the_best_epochs_weights():
    values = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    seen = []

    def validate(model):
        seen.append({name: w.clone() for name, w in model.state_dict().items()})
        return {selected_by(model): next(values)}

    training = make_training(None, epochs=9, patience=3, validate=validate)
    progress = training.run()
    assert len(seen) == 5
    assert (progress.best_epoch, progress.best) == (1, 0.5)
    assert_same_weights(training.model.state_dict(), seen[1])
    assert not torch.equal(seen[1]["embedding.weight"], seen[-1]["embedding.weight"])


def test_without_patience_it_never_stops_early():
    training = make_training(None, epochs=4, patience=0, validate=lambda model: {selected_by(model): 0.0})
    assert len(training.run().epochs) == 4


def test_without_validation_the_last_epoch_is_the_best():
    training = make_training(None, epochs=2, validate=None)
    assert training.run().best_epoch == 1


def test_a_validation_without_the_deciding_metric_is_refused():
    with pytest.raises(ConfigError, match="filtered/ndcg@10"):
        make_training(None, validate=lambda model: {"ndcg": 0.5}).run()


def test_seeds_of_neighbouring_steps_differ_in_about_half_their_bits():
    differing = [(mixed_seed(0, s) ^ mixed_seed(0, s + 1)).bit_count() for s in range(200)]
    assert 28 < np.mean(differing) < 35
    seeds = {mixed_seed(seed, step) for seed in range(50) for step in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= s < 2**63 for s in seeds)


def test_a_loss_that_is_no_number_stops_the_training_and_says_what_to_do() -> None:
    training = make_training(None)
    with torch.no_grad():
        training.model.embedding.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="Lower learning_rate"):
        training.run()


def test_the_number_of_threads_does_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(windows, "LEAST_POSITIONS", 8)
    found = []
    for threads in (1, 2, 3):
        training = make_training(None, width=32)  # heads 16 wide: compiled, where that can be had
        training.threads = threads
        assert len(next(training.plan.epoch(0)).rows) == 4
        training.run()
        found.append(training.model.state_dict())
    assert_same_weights(found[1], found[0])
    assert_same_weights(found[2], found[0])
